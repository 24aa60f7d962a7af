"""Options of scripts, by a cheap look at their text: good enough for a suggestion, never certain.

Python is parsed; of shell, JavaScript, R and SQL the usual spellings are searched for.
"""

from __future__ import annotations

import ast
import re
from itertools import islice
from typing import TYPE_CHECKING, Any

from dama.drafts.draft import Option, param_name

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from dama.definitions.command import Command

_FLAGS = ("store_true", "store_false", "store_const", "count")  # actions that take no value
MOST_TABLES = 20
LONGEST_TABLE = 50_000
_PYTHON_TYPES = {
    "int": "integer", "INT": "integer", "float": "number", "FLOAT": "number", "Path": "path",
    "BOOL": "boolean", "DateTime": "timestamp",
}  # fmt: skip
_R_TYPES = {"integer": "integer", "double": "number", "numeric": "number", "logical": "boolean"}


def find_options(language: str, text: str) -> tuple[Option, ...]:
    """Find what a script seems to take; the first of each name.

    Args:
        language: python, node, sh, R or psql.
        text: The script.
    """
    found: dict[str, Option] = {}
    for option in _LOOKS[language](text):
        found.setdefault(option.name, option)
    return tuple(found.values())


def find_variables(text: str) -> list[str]:
    """Find environment variables that a script seems to read."""
    spellings = (
        r"process\.env\.([A-Z][A-Z0-9_]+)",
        r"""(?:process\.env|os\.environ)\[['"]([A-Z][A-Z0-9_]+)['"]\]""",
        r"""(?:os\.environ\.get|os\.getenv|Sys\.getenv)\(\s*['"]([A-Z][A-Z0-9_]+)['"]""",
        r"\$\{([A-Z][A-Z0-9_]+):\?",
        r"\$\{?(PG[A-Z]+)\b",
    )
    names = {name for spelling in spellings for name in re.findall(spelling, text)}
    return sorted(name for name in names if not name.startswith("DAMA_"))


def flagged(flag: str, name: str, *, boolean: bool = False, always: bool = False) -> Command:
    """An option with its value as parts of a command; in brackets unless it is always there."""
    if boolean:
        return (f"{flag}{{?{name}}}",)
    pair = (flag, f"{{{name}}}")
    return pair if always else (pair,)


# ---------------------------------------------------------------------------------- Python


def _of_python(text: str) -> Iterator[Option]:
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return
    for node in ast.walk(tree):
        match node:
            case ast.Call(func=ast.Attribute(attr="add_argument")):
                yield from _python_option(node, positional=True)
            case ast.FunctionDef() | ast.AsyncFunctionDef():
                # The one nearest to the function comes first on the command line.
                for call in node.decorator_list:
                    yield from _of_decorator(call)
            case ast.Subscript(value=ast.Attribute(attr="argv"), slice=ast.Constant(value=int(n))):
                if n > 0:
                    yield positional(n)
            case _:
                pass


def _of_decorator(call: ast.expr) -> Iterator[Option]:
    match call:
        case ast.Call(func=ast.Attribute(attr="option") | ast.Name(id="option")):
            yield from _python_option(call, positional=False)
        case ast.Call(func=ast.Attribute(attr="argument") | ast.Name(id="argument")):
            yield from _python_option(call, positional=True)
        case _:
            pass


def _python_option(call: ast.Call, *, positional: bool) -> Iterator[Option]:
    names = [n for n in map(_constant, call.args) if isinstance(n, str)]
    words = {k.arg: k.value for k in call.keywords if k.arg}
    plain = {key: _constant(value) for key, value in words.items()}
    flags = [name.partition("/")[0] for name in names if name.startswith("-")]
    own = [name for name in names if not name.startswith("-")]
    flag = max(flags, key=len, default="")
    if (not flag and not (positional and own)) or plain.get("action") in {"help", "version"}:
        return
    # What is stored may be the opposite of what the option says.
    dest = None if plain.get("action") == "store_false" else plain.get("dest")
    name = param_name(str(dest or (own[0] if own else flag)))
    type_, choices = _python_type(words, plain, names)
    several = plain.get("nargs") in {"*", "+", -1} or "append" in str(plain.get("action"))
    several = several or plain.get("multiple") is True
    default = _fitting(type_, choices, plain.get("default")) if not several else None
    required = plain.get("required") is True or (
        not flag and default is None and plain.get("nargs") not in {"?", "*"}
    )
    yield Option(
        name,
        _python_parts(flag, name, type_, plain, always=required or default is not None),
        type=type_,
        required=required and not several,
        default=default,
        help=str(plain.get("help") or "").strip(),
        choices=choices,
        list=several,
    )


def _python_parts(
    flag: str, name: str, type_: str, plain: dict[str, Any], *, always: bool
) -> Command:
    if not flag:
        return (f"{{{name}}}",)
    if plain.get("nargs") in {"*", "+"}:
        return (f"{flag}{{?{name}}}", f"{{{name}}}")  # the option once, then all values
    several = plain.get("multiple") is True or "append" in str(plain.get("action"))
    return flagged(flag, name, boolean=type_ == "boolean", always=always and not several)


def _python_type(
    words: dict[str, ast.expr], plain: dict[str, Any], names: list[str]
) -> tuple[str, tuple[str, ...]]:
    is_flag = plain.get("is_flag") is True or any("/-" in name for name in names)
    is_flag = is_flag or _last_name(words.get("action")) == "BooleanOptionalAction"
    if is_flag or plain.get("action") in _FLAGS:
        return "boolean", ()
    named = words.get("type")
    choices = words.get("choices")
    if isinstance(named, ast.Call):
        name = _last_name(named.func)
        choices = named.args[0] if name == "Choice" and named.args else choices
    else:
        name = _last_name(named)
    return _PYTHON_TYPES.get(name, "string"), _texts(choices)


def _texts(node: ast.expr | None) -> tuple[str, ...]:
    items: list[ast.expr] = getattr(node, "elts", [])
    values = [_constant(item) for item in items]
    return tuple(values) if values and all(isinstance(v, str) and v for v in values) else ()


def _last_name(node: ast.expr | None) -> str:
    if isinstance(node, ast.Attribute):
        return node.attr
    return node.id if isinstance(node, ast.Name) else ""


def _constant(node: ast.expr) -> Any:
    try:
        return ast.literal_eval(node)
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
        return None


# ------------------------------------------------------------------------------ JavaScript

_QUOTED = r"""(?:'([^'\n]*)'|"([^"\n]*)"|`([^`]*)`)"""
_COMMANDER = re.compile(
    rf"\.(?P<kind>option|requiredOption)\(\s*{_QUOTED}(?:\s*,\s*{_QUOTED})?(?:\s*,\s*(?P<default>[^,)]+))?"
)
_YARGS = re.compile(r"""\.option\(\s*['"](?P<name>[A-Za-z][\w-]*)['"]\s*,\s*\{(?P<body>[^}]*)\}""")
_MEMBER = re.compile(r"""[{}]|'[^'\n]*'|"[^"\n]*\"""")
_FLAG = re.compile(r"(--[A-Za-z][\w-]*)(?:[ =]([<\[])[\w-]+(\.\.\.)?[>\]])?")


def _of_javascript(text: str) -> Iterator[Option]:
    yield from _of_libraries(text)
    for found in re.findall(r"""['"](--[a-z][\w-]*)=?['"]""", text):
        name = param_name(found)
        if name not in {"help", "version"}:
            yield Option(name, flagged(found, name))
    for number in re.findall(r"process\.argv\[(\d+)\]", text):
        if int(number) > 1:
            yield positional(int(number) - 1)


def _of_libraries(text: str) -> Iterator[Option]:
    for found in _COMMANDER.finditer(text):
        flags = found[2] or found[3] or found[4] or ""
        if flag := _FLAG.search(flags):
            yield _of_commander(found, flag)
    for found in _YARGS.finditer(text):
        yield _of_yargs(found["name"], found["body"])
    for table in islice(re.finditer(r"\.options\(\s{0,40}\{", text), MOST_TABLES):
        for name, body in _members(text, table.end()):
            yield _of_yargs(name, body)


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
    default = None if boolean or several else _literal(found["default"])
    type_ = "boolean" if boolean else _type_of(default)
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
    types = {"number": "number", "boolean": "boolean"}
    kind = re.search(r"\btype\s*:\s*['\"](\w+)", body)
    type_ = types.get(kind[1] if kind else "", "string")
    default = re.search(r"\bdefault\s*:\s*([^,\n]+)", body)
    value = _fitting(type_, (), _literal(default[1] if default else None))
    required = bool(re.search(r"\b(demandOption|required|demand)\s*:\s*true", body))
    described = re.search(rf"\b(?:describe|description|desc)\s*:\s*{_QUOTED}", body)
    return Option(
        name,
        flagged(
            f"--{word}", name, boolean=type_ == "boolean", always=required or value is not None
        ),
        type=type_,
        required=required and value is None,
        default=value,
        help=next(filter(None, described.groups()), "") if described else "",
    )


# --------------------------------------------------------------------- shell, R, psql, make

_FUNCTION = re.compile(
    r"^\s*(?:function\s+)?[\w-]+\s*(?:\(\))?\s*\{\s*$.*?^\s*\}", re.MULTILINE | re.DOTALL
)

_LOOP = re.compile(r"^[ \t]{0,8}while\b(?:(?!\n[ \t]{0,8}done\b).)*", re.MULTILINE | re.DOTALL)


def _of_shell(text: str) -> Iterator[Option]:
    text = re.sub(r"(?m)^\s*#.*$", "", text)
    for letters in re.findall(r"\bgetopts\s+['\"]?:?([A-Za-z:]+)", text):
        for letter, value in re.findall(r"([A-Za-z])(:?)", letters):
            if letter != "h":
                name = param_name(f"option_{letter}")
                boolean = not value
                type_ = "boolean" if boolean else "string"
                yield Option(name, flagged(f"-{letter}", name, boolean=boolean), type=type_)
    yield from _of_case(text)
    main = _FUNCTION.sub("", text)  # there $1 is an argument of the function
    main = _LOOP.sub(lambda loop: "" if "shift" in loop[0] else loop[0], main)
    found = re.findall(r"\$\{([1-9])(?::?([-?=])([^}\n]*))?\}|\$([1-9])", main)
    for braced, mark, rest, plain in sorted(found, key=lambda each: each[0] or each[3]):
        word = rest.strip("\"'")
        default = word if mark in {"-", "="} and word and not set("$`\"'") & set(word) else None
        number = _literal(default)
        yield positional(int(braced or plain), default if number is None else number)


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


def _of_r(text: str) -> Iterator[Option]:
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
        value = None if boolean else _fitting(type_, (), _literal(default[1] if default else None))
        described = re.search(rf"\bhelp\s*=\s*{_QUOTED}", body)
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


def _of_sql(text: str) -> Iterator[Option]:
    text = re.sub(r"--[^\n]*|/\*.*?\*/", " ", text, flags=re.DOTALL)
    quoted = re.findall(r":['\"]([A-Za-z_]\w*)['\"]", text)
    bare = re.sub(r":?'[^']*'|:?\"[^\"]*\"|\$(\w*)\$.*?\$\1\$", " ", text, flags=re.DOTALL)
    for word in [*quoted, *re.findall(r"(?<![:\w\]]):([A-Za-z_]\w*)", bare)]:
        name = param_name(word)
        yield Option(name, (f"--set={word}={{{name}}}",), required=True)


def positional(number: int, default: object = None) -> Option:
    """An argument without a name."""
    name = f"arg_{number}"
    return Option(
        name, (f"{{{name}}}",), type=_type_of(default), required=default is None, default=default
    )


_LOOKS: dict[str, Callable[[str], Iterator[Option]]] = {
    "python": _of_python,
    "node": _of_javascript,
    "sh": _of_shell,
    "R": _of_r,
    "psql": _of_sql,
}


def _literal(text: str | None) -> Any:
    """A literal as most languages write it; None for what is none."""
    text = (text or "").strip()
    if re.fullmatch(r"-?\d{1,15}L?", text):
        return int(text.rstrip("L"))
    if re.fullmatch(r"-?\d+\.\d+", text):
        return float(text)
    quoted = re.fullmatch(r"'([^'\\]*)'|\"([^\"\\]*)\"", text)
    if quoted:
        return quoted[1] or quoted[2] or None
    return text if re.fullmatch(r"\d[\d:T-]*", text) else None


def _type_of(value: object) -> str:
    if isinstance(value, int):
        return "integer"
    return "number" if isinstance(value, float) else "string"


def _fitting(type_: str, choices: tuple[str, ...], value: Any) -> Any:
    """A default, when it is one of the type; the program keeps its own otherwise."""
    match type_, value:
        case ("integer", int()) | ("number", int() | float()) if not isinstance(value, bool):
            return value
        case ("string" | "path", str()) if value and (not choices or value in choices):
            return value
        case _:
            return None
