"""A Makefile: each target that a person would name is a program; its variables are hints."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from dama.drafts.draft import (
    Draft,
    Drafts,
    Option,
    param_name,
    relative,
    sentence,
    task_name,
    unique,
)
from dama.drafts.secret import NAME

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

DEFAULT_NAMES = ("GNUmakefile", "makefile", "Makefile")
# Set by make itself, or by everybody.
_OWN = re.compile(r"MAKE\w*|CURDIR|SHELL|CC|CXX|CFLAGS|LDFLAGS|HOME|PATH|PWD|USER|\.\w+")
_READ_BY_A_SHELL = (
    "make puts values into its recipes as they are, and a shell reads them: trust callers."
)
_SIGN = re.compile(r"\\.|[:#=(){}]")
_CONDITION = re.compile(r" *(?:ifn?eq|ifn?def|else|endif)\b")
_LOOP = re.compile(r"\$[({]foreach\s+(\w+)\s*,")
_COMPUTES = re.compile(r"\s*\$[({](?:foreach|eval|if)\b.*\$?[({]?eval\b")
_OF_MAKE = re.compile(
    r"\.[A-Z_]+|\.[a-z]{1,3}(?:\.[a-z]{1,3})?"
)  # and rules of suffixes, such as `.c.o`
_WORDS_BEFORE = r"(?:(?:export|override|private)\s+)*"
_VARIABLE = re.compile(
    rf"^\s*{_WORDS_BEFORE}(?P<name>[\w.-]+)\s*(?P<how>\?|\+|:{{1,3}}|!)?=\s*(?P<value>.*)$"
)
_DEFINE = re.compile(r"\s*(?:override\s+|export\s+)*define\s+(?P<name>[\w.-]+)")
_OF_A_TARGET = re.compile(rf"\s*{_WORDS_BEFORE}[\w.]+\s*(?:[?+]|:{{1,3}})?=")
_INCLUDE = re.compile(r"\s*[-s]?include\s+(?P<files>.*?)\s*(?:#.*)?$")


LONGEST_COMMENT = 2000


@dataclass
class _Target:
    name: str
    help: str = ""
    text: str = ""
    recipe: str = ""
    has_pattern: bool = False  # `a.o b.o: %.o: %.c`

    @property
    def is_file(self) -> bool:
        """Whether it looks like a file that its recipe makes, not like a command."""
        if self.name.endswith("/"):
            return True
        if not re.search(r"[./]", self.name):
            return False
        makes_it = re.search(r"\$(?:@|[({]@[DF]?[)}])", self.recipe) or self.name in self.recipe
        return not self.recipe.strip() or self.has_pattern or bool(makes_it)


@dataclass
class _Makefile:
    targets: dict[str, _Target] = field(default_factory=dict[str, _Target])
    phony: set[str] = field(default_factory=set[str])
    # Those that a caller may set have a text or None; those that make computes are not here.
    open: dict[str, str] = field(default_factory=dict[str, str])
    fixed: set[str] = field(default_factory=set[str])
    computed: list[str] = field(default_factory=list[str])
    patterns: list[str] = field(default_factory=list[str])
    hidden: list[str] = field(default_factory=list[str])  # files such as `.stamps/load`
    included: list[str] = field(default_factory=list[str])
    own: dict[str, set[str]] = field(default_factory=dict[str, set[str]])  # by target


def draft_makefile(path: Path, service: str, base: Path) -> Drafts:
    """Draft the targets of a Makefile.

    Args:
        path: The file.
        service: The name of their service.
        base: The folder of the settings file.
    """
    found = _parse(path.read_text("utf-8-sig", errors="replace"))
    make = ("make",) if path.name in DEFAULT_NAMES else ("make", "-f", path.name)
    taken: set[str] = set()
    programs: list[Draft] = []
    files: list[str] = []
    for target in found.targets.values():
        if not target.text.strip():
            continue  # it does nothing, and stands for what is never there
        if target.name not in found.phony and target.is_file:
            files.append(target.name)
            continue
        options, secrets = _variables(found, target)
        programs.append(
            Draft(
                f"{service}.{unique(task_name(target.name), taken)}",
                (*make, target.name),
                cwd=relative(path.parent, base),
                help=sentence(target.help),
                secrets=secrets,
                notes=(_READ_BY_A_SHELL,) if options else (),
                options=options,
            )
        )
    seen = {
        "Passed over, for they are files": [*found.hidden, *files],
        "Passed over, for they are patterns of names": found.patterns,
        "Passed over, for make computes their names": found.computed,
        "Not read, though it includes them": found.included,
    }
    notes = tuple(
        f"{what}: {', '.join(dict.fromkeys(names))}." for what, names in seen.items() if names
    )
    return Drafts(str(path), tuple(programs), notes)


def _parse(text: str) -> _Makefile:
    reader = _Reader()
    comment = ""
    for line in _lines(text, reader.found.fixed):
        reader.take(line, comment)
        is_comment = line.startswith("#")
        comment = f"{comment} {line.lstrip('# ')}".strip()[:LONGEST_COMMENT] if is_comment else ""
    return reader.found


class _Reader:
    """The lines of a Makefile, taken one after the other."""

    def __init__(self) -> None:
        self.found = _Makefile()
        self._current: list[_Target] = []
        self._prefix = "\t"

    def take(self, line: str, comment: str) -> None:
        """Take a line, with the comment above it."""
        if line.startswith(self._prefix):
            for target in self._current:
                target.text += f"{line}\n"
                target.recipe += f"{line}\n"
        elif line.strip() and not line.startswith("#") and not _CONDITION.match(line):
            self._current = [*self._begun(line, comment)]

    def _begun(self, line: str, comment: str) -> Iterator[_Target]:
        """What is not in a recipe: the targets whose recipe may follow."""
        if include := _INCLUDE.match(line):
            self.found.included += include["files"].split()
        elif variable := _VARIABLE.match(line):
            _take_variable(self.found, variable)
            if variable["name"] == ".RECIPEPREFIX":
                self._prefix = variable["value"].strip()[:1] or "\t"
        elif _COMPUTES.match(line):
            self.found.computed.append("$(eval …)")
        elif rule := _rule_in(line):
            yield from _take_rule(self.found, *rule, comment)


def _lines(text: str, defined: set[str]) -> Iterator[str]:
    """The lines with their continuations, without the definitions of several lines.

    Args:
        text: The file.
        defined: Gets the names of these.
    """
    inside = False
    for line in re.sub(r"\\\r?\n", " ", text).splitlines():
        if begun := _DEFINE.match(line):
            defined.add(begun["name"])
            inside = True
        if not inside:
            yield line
        if re.match(r"\s*endef\b", line):
            inside = False


def _take_variable(found: _Makefile, variable: re.Match[str]) -> None:
    name, how = variable["name"], variable["how"]
    value = variable["value"].partition(" #")[0].strip()
    if how == "?":
        found.open.setdefault(name, value)
    else:
        found.fixed.add(name)


def _rule_in(line: str) -> tuple[str, str] | None:
    """The targets of a rule and the rest behind its colon; None for what is none.

    A colon may be escaped, and within a reference it stands for itself.
    """
    if not re.match(r" {0,8}[^\s:#=]", line):
        return None
    depth = 0
    for found in _SIGN.finditer(line):
        if found[0] in "({":
            depth += line[found.start() - 1 : found.start()] == "$" or depth > 0
        elif found[0] in ")}":
            depth -= depth > 0
        elif depth == 0 and found[0] in "#=":
            return None
        elif depth == 0 and found[0] == ":":
            rest = line[found.end() :].removeprefix(":")
            is_other = rest[:1] in ("=", ":") or rest.startswith("//")
            return None if is_other else (line[: found.start()].removesuffix("&"), rest)
    return None


def _take_rule(found: _Makefile, targets: str, rest: str, comment: str) -> Iterator[_Target]:
    prerequisites, _, described = rest.partition("##")
    text, computed = _without_functions(targets)
    found.computed += computed
    names = text.split()
    if ".PHONY" in names:
        found.phony |= set(prerequisites.split())
        return
    # `year: YEAR = 2013` gives a target a variable of its own.
    if _OF_A_TARGET.match(prerequisites):
        own = re.findall(r"([\w.]+)\s*(?:[?+]|:{1,3})?=", prerequisites)[:1]
        for name in names:
            found.own.setdefault(name, set()).update(own)
        return
    for name in (name.replace(r"\:", ":").replace(r"\#", "#") for name in names):
        if re.search(r"[$()]", name) or not name.isprintable() or _OF_MAKE.fullmatch(name):
            continue
        if name.startswith(".") or "%" in name:
            (found.patterns if "%" in name else found.hidden).append(name)
            continue
        target = found.targets.setdefault(name, _Target(name))
        target.has_pattern |= re.match(r"[^:;]*%[^:;]*:", prerequisites) is not None
        target.help = target.help or described.strip() or comment
        target.text += f"{prerequisites}\n"
        target.recipe += f"{prerequisites.partition(';')[2]}\n"
        yield target


def _without_functions(text: str) -> tuple[str, list[str]]:
    """Targets without those that make computes, such as `$(foreach x,a b,load-$(x))`."""
    kept: list[str] = []
    computed: list[str] = []
    depth, word = 0, ""
    for char in text:
        if char.isspace() and depth == 0:
            (computed if "$" in word else kept).append(word)
            word = ""
            continue
        depth += (char in "({") - (char in ")}" and depth > 0)
        word += char
    (computed if "$" in word else kept).append(word)
    return " ".join(kept), computed


def _variables(found: _Makefile, target: _Target) -> tuple[tuple[Option, ...], tuple[str, ...]]:
    """What a caller may set for a target, and what of it looks secret."""
    names = re.findall(r"(?<!\$)\$[({]([A-Za-z_]\w*)[)}]", target.text)
    fixed = found.fixed | found.own.get(target.name, set()) | {*_LOOP.findall(target.text)}
    wanted = [n for n in dict.fromkeys(names) if n not in fixed and not _OWN.fullmatch(n)]
    secrets = tuple(name for name in wanted if NAME.search(name))
    return tuple(_option(name, found.open.get(name)) for name in wanted if name not in secrets), (
        secrets
    )


def _option(name: str, value: str | None) -> Option:
    param = param_name(name)
    default = value if value and not re.search(r"[$`]", value) else None
    type_ = "integer" if default and re.fullmatch(r"0|-?[1-9]\d{0,14}", default) else "string"
    return Option(
        param,
        (f"{name}={{{param}}}",),
        type=type_,
        required=value is None,
        default=int(default) if default and type_ == "integer" else default,
    )
