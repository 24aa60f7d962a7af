"""A draft: one program as it might be declared, and how drafts are written as TOML.

Lines that begin with `# ` are for people. Those that begin with `#` and no blank are TOML that
waits for a decision, as in the files of settings of many servers.
"""

from __future__ import annotations

import json
import os
import re
import unicodedata
from dataclasses import dataclass, field
from datetime import date
from itertools import chain
from typing import TYPE_CHECKING, Any, cast

from dama.definitions.command import Command, escape
from dama.drafts.secret import NAME, secret_in

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

LONGEST_HELP = 100
UNREADABLE = "\ufffd"
"""Stands for what is not UTF-8."""
WIDTH = 96


@dataclass(frozen=True)
class Option:
    """An option that a program seems to take.

    Attributes:
        name: The param that it would be.
        parts: What it would add to the command.
        type: The type of the param.
        required: Whether the program seems to insist on it.
        default: The program's own; None for none.
        help: The program's own words.
        choices: The values that it takes.
        list: Whether it takes several values.
    """

    name: str
    parts: Command
    type: str = "string"
    required: bool = False
    default: Any = None
    help: str = ""
    choices: tuple[str, ...] = ()
    list: bool = False


@dataclass(frozen=True)
class Draft:
    """One program as it might be declared.

    Attributes:
        name: The full name of the task.
        command: Its arguments.
        cwd: Where it is started, from the settings file.
        help: What it does, in its own words.
        env: Variables that it was given.
        secrets: Names of variables that look secret.
        notes: What a person should know.
        options: What it seems to take.
    """

    name: str
    command: tuple[str, ...]
    cwd: str = "."
    help: str = ""
    env: dict[str, str] = field(default_factory=dict[str, str])
    secrets: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    options: tuple[Option, ...] = ()


@dataclass(frozen=True)
class Drafts:
    """All that a source gives.

    Attributes:
        source: What was read.
        programs: The drafts.
        notes: What was passed over, and why.
    """

    source: str
    programs: tuple[Draft, ...]
    notes: tuple[str, ...] = ()


def write_toml(drafts: Drafts) -> str:
    """Write drafts as a part of `dama.toml`."""
    lines = [
        *_comment(f"Programs drafted from {drafts.source} by `dama import`; nothing was run."),
        *_comment("Review them. Lines with # and no blank are suggestions: take the # away."),
    ]
    for note in drafts.notes or (() if drafts.programs else ("It has nothing to declare.",)):
        lines += _comment(note)
    for draft in drafts.programs:
        lines += ["", *_declaration(draft)]
    text = "\n".join(lines)
    return f"{text}\n"


def _declaration(draft: Draft) -> list[str]:
    lines = [f"[programs.{toml(draft.name)}]"]
    if draft.help and not secret_in(draft.help):
        lines.append(f"help = {toml(draft.help)}")
    lines.append(f"command = {toml([escape(text) for text in draft.command])}")
    if draft.cwd != ".":
        lines.append(f"cwd = {toml(draft.cwd)}")
    if draft.env:
        escaped = {name: escape(text) for name, text in draft.env.items()}
        lines.append(f"env = {toml(escaped)}")
    if draft.secrets:
        lines.append(f"secrets = {toml(list(draft.secrets))}")
    for note in draft.notes:
        lines += _comment(note)
    hidden = [option.name for option in draft.options if NAME.search(option.name)]
    if hidden:
        lines += _comment(f"It seems to take {', '.join(hidden)}: arguments are seen by others.")
    return lines + _suggestions(draft, [o for o in draft.options if o.name not in hidden])


def _suggestions(draft: Draft, options: Sequence[Option]) -> list[str]:
    if not options:
        return []
    command = [escape(text) for text in draft.command]
    parts = [part for option in options for part in option.parts]
    return [
        *_comment("It seems to take these; this command would replace the one above."),
        f"#command = {toml([*command, *parts])}",
        *(f"#params.{option.name} = {toml(_param(option))}" for option in options),
    ]


def _param(option: Option) -> dict[str, object]:
    optional = not option.required and option.default is None and not option.list
    found: dict[str, object] = {
        "type": option.type if option.type != "string" else None,
        "list": option.list or None,
        "choices": list(option.choices) or None,
        "default": None if secret_in(str(option.default)) else option.default,
        "required": False if optional and option.type != "boolean" else None,
        "help": None if secret_in(option.help) else option.help or None,
    }
    return {key: value for key, value in found.items() if value is not None}


def toml(value: object) -> str:
    """Write a value as TOML on one line."""
    match value:
        case bool():
            return str(value).lower()
        case str():
            return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
        case dict():
            pairs = cast("dict[str, object]", value).items()
            inside = ", ".join(f"{_key(name)} = {toml(each)}" for name, each in pairs)
            return f"{{ {inside} }}" if inside else "{}"
        case list() | tuple():
            return f"[{', '.join(map(toml, cast('Iterable[object]', value)))}]"
        case date():
            return value.isoformat()
        case _:
            return str(value)


def _key(name: str) -> str:
    return name if re.fullmatch(r"[A-Za-z0-9_-]+", name) else toml(name)


def _comment(text: str) -> list[str]:
    words = "".join(c if c.isprintable() else " " for c in text).split()
    if words[:1] == ["dama"]:
        return [f"# {' '.join(words)}"]  # a command to copy
    lines = ["#"]
    for word in words:
        if len(lines[-1]) + 1 + len(word) > WIDTH and lines[-1] != "#":
            lines.append("#")
        lines[-1] += f" {word}"
    return lines


def sentence(text: str) -> str:
    """The first sentence of a text, for a help; empty when it is not one."""
    first = " ".join(text.split())
    found = re.match(r"(.+?[.!?])(\s|$)", first)
    first = found[1] if found else first
    if not re.search(r"[A-Za-z]{3}", first) or re.match(r"(?i)copyright|license|spdx|-\*-", first):
        return ""
    return first if len(first) <= LONGEST_HELP else f"{first[: LONGEST_HELP - 1].rstrip()}…"


def task_name(text: str) -> str:
    """A name for a task, of a file's name or a target."""
    name = re.sub(r"[^a-z0-9_-]+", "-", _plain(text)).strip("-_")
    return name if name[:1].isalpha() else f"p-{name}".rstrip("-")


def param_name(text: str) -> str:
    """A name for a param, of an option: `--start-date` is `start_date`."""
    name = re.sub(r"[^a-z0-9]+", "_", _plain(text)).strip("_")
    return name if name[:1].isalpha() else f"arg_{name}".rstrip("_")


def _plain(text: str) -> str:
    """In small letters without accents: `Überblick` is `uberblick`."""
    apart = unicodedata.normalize("NFKD", text).casefold()
    return "".join(c for c in apart if not unicodedata.combining(c))


def unique(name: str, taken: set[str], *others: str) -> str:
    """The first name that is free; it is taken then."""
    numbered = (f"{name}-{number}" for number in range(2, len(taken) + 3))
    free = next(each for each in chain((name, *others), numbered) if each not in taken)
    taken.add(free)
    return free


def relative(folder: Path, base: Path) -> str:
    """A folder as the settings file in `base` would name it."""
    return os.path.relpath(folder.absolute(), base.absolute())
