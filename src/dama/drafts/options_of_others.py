"""Options of scripts in shell, Perl, R and SQL, by the usual spellings."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from dama.drafts.draft import Option, param_name
from dama.drafts.option_parts import QUOTED, fitting, flagged, literal, positional
from dama.drafts.shell import without_raw

if TYPE_CHECKING:
    from collections.abc import Iterator


_R_TYPES = {"integer": "integer", "double": "number", "numeric": "number", "logical": "boolean"}
_FUNCTION = re.compile(
    r"^\s*(?:function\s+)?[\w-]+\s*(?:\(\))?\s*\{\s*$.*?^\s*\}", re.MULTILINE | re.DOTALL
)

_LOOP = re.compile(r"^[ \t]{0,8}while\b(?:(?!\n[ \t]{0,8}done\b).)*", re.MULTILINE | re.DOTALL)


def of_shell(text: str) -> Iterator[Option]:
    """getopts, branches of a case, and arguments by number."""
    text = re.sub(r"(?m)^\s*#.*$", "", text)
    if re.match(r"#!.*\b(?:perl|ruby|php|tclsh|lua|awk)", text):
        return
    for letters in re.findall(r"\bgetopts\s+['\"]?:?([A-Za-z:]+)", text):
        for letter, value in re.findall(r"([A-Za-z])(:?)", letters):
            if letter != "h":
                name = param_name(f"option_{letter}")
                boolean = not value
                type_ = "boolean" if boolean else "string"
                yield Option(name, flagged(f"-{letter}", name, boolean=boolean), type=type_)
    yield from _of_case(text)
    main = _FUNCTION.sub("", without_raw(text))  # there $1 is an argument of the function
    main = _LOOP.sub(lambda loop: "" if "shift" in loop[0] else loop[0], main)
    # One that may be left out is the last: else others would take its place.
    found = re.findall(r"\$\{([1-9])(?::?([-?=])([^}\n]*))?\}|\$([1-9])", main)
    last = max((int(each[0] or each[3]) for each in found), default=0)
    for braced, mark, rest, plain in sorted(found, key=lambda each: each[0] or each[3]):
        word = rest.strip("\"'")
        default = word if mark in {"-", "="} and word and not set("$`\"'") & set(word) else None
        number = literal(default)
        value = default if number is None else number
        number_of = int(braced or plain)
        may_miss = mark in {"-", "="} and not value and number_of == last
        yield positional(number_of, value, required=not may_miss)


def _of_case(text: str) -> Iterator[Option]:
    """Find options in branches such as `-y|--year) year=$2; shift 2;;`."""
    branch = re.compile(
        r"^\s*\(?(?:-\w\s*\|\s*)?(--[a-z][\w-]*)(=\*)?[^)\n]*\)(.*?);;", re.MULTILINE | re.DOTALL
    )
    for flag, joined, body in branch.findall(text):
        name = param_name(flag)
        if name == "help":
            continue
        if joined:
            yield Option(name, (f"{flag}={{{name}}}",))
        elif re.search(r"\$\{?2\b|shift\s+2", body):
            yield Option(name, flagged(flag, name))
        else:
            yield Option(name, flagged(flag, name, boolean=True), type="boolean")


_GETOPT_LONG = re.compile(
    r"""['"](?P<names>[A-Za-z][\w|?-]{0,100})(?P<kind>[=:][sif]|[!+])?(?P<many>@)?['"]\s*=>\s*(?P<to>\\?@)?"""
)


def of_perl(text: str) -> Iterator[Option]:
    """Getopt::Long, and arguments by number."""
    types = {"i": "integer", "f": "number"}
    for call in re.finditer(r"\bGetOptions\s*\((?P<body>[^;]{0,5000})", text):
        for found in _GETOPT_LONG.finditer(call["body"]):
            word = max(found["names"].split("|"), key=len)
            name, kind = param_name(word), found["kind"] or ""
            if name in {"help", "man", "version"}:
                continue
            boolean = kind in {"", "!", "+"}
            several = bool(found["many"] or (found["to"] and not boolean))
            yield Option(
                name,
                flagged(f"--{word}", name, boolean=boolean),
                type="boolean" if boolean else types.get(kind[1:], "string"),
                list=several,
            )
    for number in re.findall(r"\$ARGV\[(\d)\]", text):
        yield positional(int(number) + 1)


def of_r(text: str) -> Iterator[Option]:
    """optparse, and arguments by number."""
    for found in re.finditer(r"make_option\((?P<body>(?:[^()]|\([^()]*\))*)\)", text):
        body = found["body"]
        flag = re.search(r"['\"](--[A-Za-z][\w-]*)['\"]", body)
        if not flag:
            continue
        name = param_name(flag[1])
        kind = re.search(r"\btype\s*=\s*['\"](\w+)", body)
        boolean = "store_true" in body
        type_ = "boolean" if boolean else _R_TYPES.get(kind[1] if kind else "", "string")
        default = re.search(r"\bdefault\s*=\s*([^,)\n]+)", body)
        value = None if boolean else fitting(type_, (), literal(default[1] if default else None))
        described = re.search(rf"\bhelp\s*=\s*{QUOTED}", body)
        yield Option(
            name,
            flagged(flag[1], name, boolean=boolean, always=value is not None),
            type=type_,
            default=value,
            help=next(filter(None, described.groups()), "") if described else "",
        )
    if "commandArgs" in text:
        for number in re.findall(r"\bargs\[\[?(\d)\]", text):
            yield positional(int(number))


def of_sql(text: str) -> Iterator[Option]:
    """The variables of psql."""
    text = re.sub(r"--[^\n]*|/\*.*?\*/", " ", text, flags=re.DOTALL)
    quoted = re.findall(r":['\"]([A-Za-z_]\w*)['\"]", text)
    bare = re.sub(r":?'[^']*'|:?\"[^\"]*\"|\$(\w*)\$.*?\$\1\$", " ", text, flags=re.DOTALL)
    for word in [*quoted, *re.findall(r"(?<![:\w\]]):([A-Za-z_]\w*)", bare)]:
        name = param_name(word)
        yield Option(name, (f"--set={word}={{{name}}}",), required=True)
