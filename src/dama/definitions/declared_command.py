"""The command of a program as it is declared, read and checked.

Refused are placeholders without a param, secrets in the command, and values within code that
another program would run.
"""

from __future__ import annotations

import re
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dama.config.table import Table, nearest
from dama.definitions.command import WORK_DIR, Command, placeholders
from dama.errors import InvalidDefinitionError
from dama.shapes import is_array

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from dama.definitions.program_params import ProgramParam

# Where a text is code, a value within it could become code. Of these programs: the options that
# code follows, and those that it is attached to; the letters before are of flags without values.
CODE_OPTIONS = {
    re.compile(r"(ba|da|k|z|fi)?sh"): (re.compile(r"-[a-zA-Z]*c"), re.compile(r"(?!)")),
    re.compile(r"python[\d.]*"): (
        re.compile(r"-[a-zA-Z]*c"),
        re.compile(r"-[bBdEiIOPqsSuvx]*c"),
    ),
    re.compile(r"node|ruby|perl|Rscript"): (
        re.compile(r"-[a-z]*[eE]|-p|--eval|--print"),
        re.compile(r"-[acnpswltTuUWX0]*[eE]|--(eval|print)="),
    ),
    re.compile(r"psql"): (
        re.compile(r"-[a-zA-Z1]*c|--command"),
        re.compile(r"-[aAbeEHlnqsStwWxXz1]*c|--command="),
    ),
}
_BRACKETS = (
    'a list of strings, with brackets around those that belong together: ["--year", "{year}"]'
)


def read_command(
    table: Table, params: Mapping[str, ProgramParam], secrets: Sequence[str]
) -> Command:
    """Read the key `command`: the program and its arguments.

    Raises:
        InvalidDefinitionError: It is not a command, or a value could become code.
    """
    found: object = table.value("command", (list, tuple), _BRACKETS, None)
    if not is_array(found) or not found:
        table.wrong("command", _BRACKETS)
    command = tuple(_element(table, part) for part in found)
    if not isinstance(command[0], str) or placeholders(command[0]):
        table.wrong("command", "the program itself first, without a placeholder")
    for text in _texts(command):
        check_placeholders(table, "command", text, params, secrets)
    _refuse_code(table, command)
    _refuse_dangling(table, command, params)
    _refuse_two_lists(table, command, params)
    return command


def _element(table: Table, part: object) -> str | tuple[str, ...]:
    if isinstance(part, str):
        return part
    items: tuple[Any, ...] = tuple(part) if is_array(part) else ()
    if not items or not all(isinstance(item, str) for item in items):
        table.wrong("command", _BRACKETS)
    return items


def _texts(command: Command) -> Iterator[str]:
    for part in command:
        yield from (part,) if isinstance(part, str) else part


def check_placeholders(
    table: Table, key: str, text: str, params: Mapping[str, ProgramParam], secrets: Sequence[str]
) -> None:
    """Check that each placeholder of a string has a param, and none is of a secret.

    Raises:
        InvalidDefinitionError: One has none, or is.
    """
    for found in placeholders(text):
        name = found.name
        if name in secrets:
            raise InvalidDefinitionError(
                f"{table.where}.{key} has a placeholder of the secret {name}, "
                "which would be seen in `ps` and in events.",
                f"Leave it out: the program finds {name} in its environment.",
            )
        if name not in params and name != WORK_DIR:
            raise InvalidDefinitionError(
                f"{table.where}.{key} has the placeholder {{{found.mark}{name}}} in {text!r}, "
                f"but no param {name!r} is declared.",
                nearest(name, params, verb="Declared params are")
                + f" For the braces themselves, write {{{{{name}}}}}.",
            )
    if (bare := placeholders(text)) and all(f.mark for f in bare):
        marks = [f"{{{f.mark}{f.name}}}" for f in bare]
        if "".join(marks) == text:
            raise InvalidDefinitionError(
                f"{table.where}.{key} has {text!r}, which adds no text: "
                f'wanted what is to stand there, such as "--{bare[0].name}{marks[0]}".'
            )


def _refuse_code(table: Table, command: Command) -> None:
    """A value must never become code of a shell or of another language."""
    program, before, attached = "", None, None  # another one may start it, as env and nice do
    for option, code in pairwise(("", *_texts(command))):
        name = Path(code).name
        for known, (alone, beginning) in CODE_OPTIONS.items():
            if known.fullmatch(name):
                program, before, attached = name, alone, beginning
        if before is None or attached is None or not placeholders(code):
            continue
        if before.fullmatch(option) or attached.match(code):
            name = placeholders(code)[0].name
            raise InvalidDefinitionError(
                f"{table.where}.command has a placeholder in {code!r}, which {program} runs as "
                "code: a value could become code.",
                f"Pass it as an argument or read $DAMA_PARAM_{name.upper()} there.",
            )


def _refuse_dangling(table: Table, command: Command, params: Mapping[str, ProgramParam]) -> None:
    """`"--year", "{year}"` without brackets would leave the option behind without its value."""
    for option, value in pairwise(command):
        if not isinstance(option, str) or not isinstance(value, str):
            continue
        alone = [f for f in placeholders(value) if _may_drop_out(params.get(f.name), f.mark)]
        if option.startswith("-") and "=" not in option and not placeholders(option) and alone:
            raise InvalidDefinitionError(
                f"{table.where}.command has {option!r} before {value!r}, "
                "which is left out or repeated with its param.",
                f'Put brackets around what belongs together: ["{option}", "{value}"], '
                f'or around the option alone: ["{option}"].',
            )


def _may_drop_out(param: ProgramParam | None, mark: str) -> bool:
    if param is None:  # the working folder is always there
        return bool(mark)
    return bool(mark) or param.list or (not param.required and param.default is None)


def _refuse_two_lists(table: Table, command: Command, params: Mapping[str, ProgramParam]) -> None:
    for part in command:
        texts = (part,) if isinstance(part, str) else part
        names = {f.name for t in texts for f in placeholders(t) if not f.mark}
        lists = sorted(name for name in names if name in params and params[name].list)
        if len(lists) > 1:
            raise InvalidDefinitionError(
                f"{table.where}.command repeats {list(texts)!r} for the lists "
                f"{' and '.join(lists)}: expected one list in a group."
            )
