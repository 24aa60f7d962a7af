"""A folder of scripts: each is a program, run by its shebang or by what its ending says."""

from __future__ import annotations

import ast
import re
from typing import TYPE_CHECKING

from dama.drafts.draft import (
    UNREADABLE,
    Draft,
    Drafts,
    relative,
    sentence,
    task_name,
    unique,
)
from dama.drafts.options import find_options, find_variables
from dama.drafts.secret import NAME
from dama.drafts.sightings import find_sightings

if TYPE_CHECKING:
    from pathlib import Path

LONGEST_SCRIPT = 1024 * 1024
PSQL = ("psql", "--no-psqlrc", "--set=ON_ERROR_STOP=1")
# By ending: how it is run without a shebang of its own, and how its options are spelt.
LANGUAGES = {
    ".sh": (("bash",), "sh"),
    ".bash": (("bash",), "sh"),
    ".py": (("python3",), "python"),
    ".js": (("node",), "node"),
    ".mjs": (("node",), "node"),
    ".cjs": (("node",), "node"),
    ".pl": (("perl",), "perl"),
    ".r": (("Rscript",), "R"),
    ".sql": (PSQL, "psql"),
    ".psql": (PSQL, "psql"),
}
_BY_INTERPRETER = {
    "python": "python", "node": "node", "Rscript": "R", "psql": "psql", "perl": "perl", "sh": "sh",
}  # fmt: skip
OTHERS = ("Makefile", "makefile", "GNUmakefile", "package.json", "crontab")
_MODULE_SIGNS = {
    "python": r"__name__\s*==|sys\.argv|argparse|@[\w.]+\.command\b|click\.command",
    "node": r"process\.argv|require\.main|import\.meta\.main|\.parse(Async)?\(|commander|yargs",
}
# How Python is told that a file is not UTF-8, in its first or second line.
_DECLARED = re.compile(rb"(?:[ \t\f]*#[^\n]*\n)?[ \t\f]*#[^\n]*?coding[:=][ \t]*([-\w.]{1,40})")
_LIBRARY = re.compile(r"(?m)^\s*(def |class |export |module\.exports|exports\.)")


def draft_folder(folder: Path, service: str, base: Path) -> Drafts:
    """Draft the scripts of a folder, not of the folders below it.

    Args:
        folder: Where they are.
        service: The name of their service.
        base: The folder of the settings file.
    """
    programs: list[Draft] = []
    notes: list[str] = []
    taken: set[str] = set()
    for path in sorted(folder.iterdir()):
        if path.name.startswith(".") or path.name == "__init__.py":
            continue
        if path.is_dir():
            notes.append(f"Not looked into: {path.name}/ (dama import {folder / path.name})")
        elif path.name in OTHERS:
            notes.append(f"There is more in {path.name}: dama import {folder / path.name}")
        elif path.is_file() and (text := _read(path)) is not None:
            language = _language(path, text)
            if language is None or not (path.suffix.lower() in LANGUAGES or _is_executable(path)):
                continue
            if _is_module(path, language, text):
                notes.append(f"Passed over: {path.name} looks like a module that others import.")
                continue
            name = unique(task_name(path.stem), taken, task_name(path.name))
            programs.append(_draft(path, f"{service}.{name}", language, text, base))
    return Drafts(str(folder), tuple(programs), tuple(notes))


def draft_script(path: Path, service: str, base: Path) -> Drafts | None:
    """Draft one script; None for a file whose ending and first line say that it is not one.

    Args:
        path: The file.
        service: The name of its service.
        base: The folder of the settings file.
    """
    text = _read(path)
    language = None if text is None else _language(path, text)
    if text is None or language is None:
        return None
    draft = _draft(path, f"{service}.{task_name(path.stem)}", language, text, base)
    return Drafts(str(path), (draft,))


def variables_of(language: str, text: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The secrets that a script seems to read, and a note on its other variables."""
    variables = find_variables(text)
    secrets = tuple(name for name in variables if NAME.search(name))
    others = [name for name in variables if name not in secrets]
    notes = (f"It seems to read the variables {', '.join(others)}.",) if others else ()
    notes += find_sightings(language, text)
    if language == "psql" and re.search(r"(?<![:\w\]]):[A-Za-z_]", text):
        notes += ("Variables without quotes, as in :year, become SQL as they are: trust callers.",)
    return secrets, notes


def _draft(path: Path, name: str, language: str, text: str, base: Path) -> Draft:
    command, note = _command(path, text)
    text = text.removeprefix("\ufeff")
    secrets, notes = variables_of(language, text)
    options = find_options(language, text)
    readable = tuple(each for each in options if UNREADABLE not in repr(each))
    if len(readable) < len(options):
        notes = ("Not all of it is UTF-8: options that are not are left out.", *notes)
    help_ = _help(language, text)
    return Draft(
        name,
        command,
        cwd=relative(path.parent, base),
        help="" if UNREADABLE in help_ else help_,
        secrets=secrets,
        notes=(*note, *notes),
        options=readable,
    )


def _command(path: Path, text: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """How it is started, and what a person should know of that."""
    shebang = text.partition("\n")[0] if text.startswith("#!") else ""
    runs = _is_executable(path) and shebang
    if runs and not shebang.endswith("\r"):
        return (f"./{path.name}",), ()
    note = ("Its first line ends with a carriage return: started by itself it fails.",)
    words = tuple(word for word in shebang[2:].split() if word != "-S")
    interpreter, language = LANGUAGES.get(path.suffix.lower(), (words, ""))
    if language == "sh" and re.search(r"\b(sh|dash|ksh|zsh)\s*$", shebang):
        interpreter = (re.findall(r"\w+", shebang)[-1],)
    file = f"--file={path.name}" if language == "psql" else path.name
    return (*interpreter, file), note if runs else ()


def _language(path: Path, text: str) -> str | None:
    """How its options are spelt; None for what is not a script."""
    if path.suffix.lower() in LANGUAGES:
        return LANGUAGES[path.suffix.lower()][1]
    if not text.startswith("#!"):
        return None
    first = text.partition("\n")[0]
    return next((lang for sign, lang in _BY_INTERPRETER.items() if sign in first), "sh")


def _is_module(path: Path, language: str, text: str) -> bool:
    """Whether it only has definitions, for others to import."""
    if _is_executable(path) or text.startswith("#!") or language not in _MODULE_SIGNS:
        return False
    return bool(_LIBRARY.search(text)) and not re.search(_MODULE_SIGNS[language], text)


def _is_executable(path: Path) -> bool:
    return bool(path.stat().st_mode & 0o111)


def _read(path: Path) -> str | None:
    """The beginning of a text; None for what is none, or cannot be read."""
    try:
        with path.open("rb") as file:
            content = file.read(LONGEST_SCRIPT)
    except OSError:
        return None
    if b"\0" in content:
        return None
    declared = _DECLARED.match(content)
    try:
        return content.decode(declared[1].decode() if declared else "utf-8")
    except (UnicodeDecodeError, LookupError):
        return content.decode("utf-8", errors="replace")


def _help(language: str, text: str) -> str:
    """What a script says of itself: its docstring, or the comment that it begins with."""
    if language == "python":
        try:
            return sentence(ast.get_docstring(ast.parse(text)) or "")
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            return ""
    words: list[str] = []
    for line in text.splitlines():
        comment = re.match(r"\s*(?:#(?!!)|//|--|/\*+|\*(?!/))\s?(.*?)(?:\*/)?\s*$", line)
        if comment and not comment[1].startswith("!"):
            words.append(comment[1])
        elif words or (
            line.strip() and not line.startswith(("#!", "'use strict'", '"use strict"'))
        ):
            break
        if words and not words[-1].strip("-=# "):
            words.pop()
            if words:
                break
    return sentence(" ".join(words))
