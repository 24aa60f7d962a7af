"""Options of scripts in JavaScript, by the usual spellings of its libraries."""

from __future__ import annotations

import re
from itertools import islice
from typing import TYPE_CHECKING

from dama.drafts.draft import Option, param_name
from dama.drafts.option_parts import QUOTED, fitting, flagged, literal, positional, type_of

if TYPE_CHECKING:
    from collections.abc import Iterator


MOST_TABLES = 20
LONGEST_TABLE = 50_000
_COMMANDER = re.compile(
    rf"\.(?P<kind>option|requiredOption)\(\s*{QUOTED}(?:\s*,\s*{QUOTED})?(?:\s*,\s*(?:\w+\s*,\s*)?(?P<default>[^,)]+))?"
)
_YARGS = re.compile(r"""\.option\(\s*['"](?P<name>[A-Za-z][\w-]*)['"]\s*,\s*\{(?P<body>[^}]*)\}""")
_MEMBER = re.compile(r"""[{}]|'[^'\n]*'|"[^"\n]*\"""")
_FLAG = re.compile(r"(--[A-Za-z][\w-]*)(?:[ =]([<\[])[\w-]+(\.\.\.)?[>\]])?")


def of_javascript(text: str) -> Iterator[Option]:
    """commander, yargs, words such as `'--year'`, and arguments by number."""
    yield from _of_libraries(text)
    for call, found in re.findall(r"""(includes\(\s*)?['"](--[a-z][\w-]*)=?['"]""", text):
        name = param_name(found)
        if name not in {"help", "version"}:
            is_flag = bool(call)  # nothing follows what is only asked for
            type_ = "boolean" if is_flag else "string"
            yield Option(name, flagged(found, name, boolean=is_flag), type=type_)
    for number in re.findall(r"process\.argv\[(\d+)\]", text):
        if int(number) > 1:
            yield positional(int(number) - 1)


def _of_libraries(text: str) -> Iterator[Option]:
    for found in _COMMANDER.finditer(text):
        flags = found[2] or found[3] or found[4] or ""
        if flag := _FLAG.search(flags):
            yield _of_commander(found, flag)
    for optional, word, several in re.findall(
        r"\.argument\(\s{0,20}['\"]([<\[])([A-Za-z][\w-]{0,60})(\.\.\.)?[>\]]", text
    ):
        name, required = param_name(word), optional == "<" and not several
        parts = (f"{{{name}}}",) if required or several else ((f"{{{name}}}",),)
        yield Option(name, parts, required=required, list=bool(several))
    if "yargs" in text:
        yield from _of_chained(text)
    for found in _YARGS.finditer(text):
        yield _of_yargs(found["name"], found["body"])
    for table in islice(re.finditer(r"\.options\(\s{0,40}\{", text), MOST_TABLES):
        for name, body in _members(text, table.end()):
            yield _of_yargs(name, body)


def _of_chained(text: str) -> Iterator[Option]:
    """`.boolean('dry')`, `.number(['a', 'b'])` and the like."""
    types = {"boolean": "boolean", "count": "boolean", "number": "number"}
    for kind, words in re.findall(
        r"\.(boolean|count|number|string|array)\(\s{0,20}(\[[^\]]{0,500}\]|['\"][\w-]{1,60}['\"])",
        text,
    ):
        for word in re.findall(r"['\"]([\w-]{2,60})['\"]", words):
            name, type_, several = param_name(word), types.get(kind, "string"), kind == "array"
            parts = (f"--{word}{{?{name}}}", f"{{{name}}}")
            yield Option(
                name,
                parts if several else flagged(f"--{word}", name, boolean=type_ == "boolean"),
                type=type_,
                list=several,
            )


def _members(text: str, begin: int) -> Iterator[tuple[str, str]]:
    """The members of an object that are objects, with what is in them."""
    depth, start, name = 0, begin, ""
    for found in _MEMBER.finditer(text, begin, begin + LONGEST_TABLE):
        if found[0] == "{":
            if depth == 0:
                key = re.search(
                    r"""['"]?([A-Za-z][\w-]{0,60})['"]?\s{0,20}:\s{0,20}$""",
                    text[start : found.start()],
                )
                name, start = key[1] if key else "", found.end()
            depth += 1
        elif found[0] == "}":
            depth -= 1
            if depth < 0:
                return
            if depth == 0:
                if name:
                    yield name, text[start : found.start()]
                start = found.end()


def _of_commander(found: re.Match[str], flag: re.Match[str]) -> Option:
    name = param_name(flag[1])
    boolean = not flag[2]
    several = bool(flag[3])
    required = found["kind"] == "requiredOption"
    default = None if boolean or several else literal(found["default"])
    type_ = "boolean" if boolean else type_of(default)
    return Option(
        name,
        (f"{flag[1]}{{?{name}}}", f"{{{name}}}")
        if several
        else flagged(flag[1], name, boolean=boolean, always=required or default is not None),
        type=type_,
        required=required,
        default=default,
        help=(found[5] or found[6] or found[7] or "").strip(),
        list=several,
    )


def _of_yargs(word: str, body: str) -> Option:
    name = param_name(word)
    types = {"number": "number", "boolean": "boolean", "count": "boolean"}
    kind = re.search(r"\btype\s*:\s*['\"](\w+)|\b(boolean|number|array|count)\s*:\s*true", body)
    word_of_type = (kind[1] or kind[2]) if kind else ""
    type_ = types.get(word_of_type, "string")
    several = word_of_type == "array"
    default = re.search(r"\bdefault\s*:\s*([^,\n]+)", body)
    listed = re.search(r"\bchoices\s*:\s*\[([^\]]*)\]", body)
    choices = tuple(re.findall(r"['\"]([^'\"\n]+)['\"]", listed[1])) if listed else ()
    value = fitting(type_, choices, literal(default[1] if default else None))
    value = None if several else value
    required = bool(re.search(r"\b(demandOption|required|demand)\s*:\s*true", body))
    described = re.search(rf"\b(?:describe|description|desc)\s*:\s*{QUOTED}", body)
    return Option(
        name,
        (f"--{word}{{?{name}}}", f"{{{name}}}")
        if several
        else flagged(
            f"--{word}", name, boolean=type_ == "boolean", always=required or value is not None
        ),
        type=type_,
        choices=choices,
        list=several,
        required=required and value is None and not several,
        default=value,
        help=next(filter(None, described.groups()), "") if described else "",
    )
