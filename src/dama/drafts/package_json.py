"""A package.json: each of its scripts is a program, run by the package manager of the folder."""

from __future__ import annotations

import json
import re
import shlex
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from dama.drafts.draft import Draft, Drafts, Option, relative, task_name, unique
from dama.drafts.folder import LANGUAGES, variables_of
from dama.drafts.options import find_options
from dama.drafts.secret import secret_in
from dama.errors import InvalidDefinitionError
from dama.shapes import is_dict

if TYPE_CHECKING:
    from pathlib import Path

LOCK_FILES = {"pnpm-lock.yaml": "pnpm", "yarn.lock": "yarn", "bun.lock": "bun", "bun.lockb": "bun"}
# npm runs these at its own times.
LIFE_CYCLE = (
    "install", "uninstall", "prepare", "publish", "publishOnly", "pack", "shrinkwrap", "version",
    "dependencies",
)  # fmt: skip


def draft_package(path: Path, service: str, base: Path) -> Drafts:
    """Draft the scripts of a package.json.

    Args:
        path: The file.
        service: The name of their service.
        base: The folder of the settings file.

    Raises:
        InvalidDefinitionError: It is not valid JSON, or its scripts are not a table of strings.
    """
    package = _read(path)
    scripts = _scripts(path, package)
    manager = _manager(path.parent, package)
    taken: set[str] = set()
    hooks = [name for name in scripts if _is_hook(name, scripts)]
    return Drafts(
        str(path),
        tuple(
            _draft(path, f"{service}.{unique(task_name(name), taken)}", manager, name, text, base)
            for name, text in scripts.items()
            if name not in hooks
        ),
        (f"Passed over, for they are run by others: {', '.join(hooks)}.",) if hooks else (),
    )


def _read(path: Path) -> dict[str, object]:
    try:
        content: Any = json.loads(path.read_text("utf-8-sig"))
    except ValueError as error:
        raise InvalidDefinitionError(f"{path} is not valid JSON: {error}.") from error
    return content if is_dict(content) else {}


def _manager(folder: Path, package: dict[str, object]) -> str:
    """What runs its scripts: what it names itself, else what has left a lock file."""
    named = re.match(r"(npm|pnpm|yarn|bun)@", str(package.get("packageManager")))
    locked = (word for file, word in LOCK_FILES.items() if (folder / file).is_file())
    return named[1] if named else next(locked, "npm")


def _scripts(path: Path, package: dict[str, object]) -> dict[str, str]:
    scripts: object = package.get("scripts", {})
    if not is_dict(scripts):
        raise InvalidDefinitionError(
            f"scripts of {path} is {scripts!r}: expected a table of strings."
        )
    return {name: text for name, text in scripts.items() if isinstance(text, str) and text.strip()}


def _is_hook(name: str, scripts: dict[str, str]) -> bool:
    bare = re.sub(r"^(pre|post)", "", name)
    return name in LIFE_CYCLE or bare in LIFE_CYCLE or (bare != name and bare in scripts)


def _draft(path: Path, name: str, manager: str, script: str, text: str, base: Path) -> Draft:
    options, secrets, notes = _look(path.parent, text)
    # npm would take the options for its own without --.
    if manager == "npm" and options:
        options = (replace(options[0], parts=("--", *options[0].parts)), *options[1:])
    return Draft(
        name,
        (manager, "run", "--silent", script) if manager != "bun" else ("bun", "run", script),
        cwd=relative(path.parent, base),
        secrets=secrets,
        notes=(_what_it_runs(text), *notes),
        options=options,
    )


def _what_it_runs(text: str) -> str:
    if secret := secret_in(text):
        return (
            f"Its command holds {secret}, so it is not repeated here. Move the value into a file "
            "of mode 0600, and name that in env_files."
        )
    return f"It runs: {text}"


def _look(folder: Path, text: str) -> tuple[tuple[Option, ...], tuple[str, ...], tuple[str, ...]]:
    """What the first script that is named seems to take, when options would reach it."""
    if re.search(r"[;&|<>$`]", text):
        return (), (), ()
    for word in _words(text):
        file = folder / word
        language = LANGUAGES.get(file.suffix.lower())
        if language and file.is_file() and folder.resolve() in file.resolve().parents:
            code = file.read_text("utf-8-sig", errors="replace")
            return find_options(language[1], code), *variables_of(language[1], code)
    return (), (), ()


def _words(text: str) -> list[str]:
    try:
        return shlex.split(text)
    except ValueError:
        return []
