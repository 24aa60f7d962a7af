"""Options of scripts in Python: argparse, optparse, click and what is read by number."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING, Any

from dama.drafts.draft import Option, param_name
from dama.drafts.option_parts import fitting, flagged, positional

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dama.definitions.command import Command


_FLAGS = ("store_true", "store_false", "store_const", "count")  # actions that take no value
_PYTHON_TYPES = {
    "int": "integer", "INT": "integer", "float": "number", "FLOAT": "number", "Path": "path",
    "BOOL": "boolean", "DateTime": "timestamp",
}  # fmt: skip


def of_python(text: str) -> Iterator[Option]:
    """argparse, optparse, click, and arguments by number; nothing of what is no Python."""
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return
    for node in ast.walk(tree):
        match node:
            case ast.Call(func=ast.Attribute(attr="add_argument" | "add_option")):
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
    several = _takes_several(words, plain) or plain.get("multiple") is True
    several = several or "append" in str(plain.get("action"))
    default = fitting(type_, choices, plain.get("default")) if not several else None
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


def _takes_several(words: dict[str, ast.expr], plain: dict[str, Any]) -> bool:
    number = plain.get("nargs")
    is_rest = _last_name(words.get("nargs")) == "REMAINDER"
    return is_rest or number in ("*", "+") or (isinstance(number, int) and number not in (0, 1))


def _python_parts(
    flag: str, name: str, type_: str, plain: dict[str, Any], *, always: bool
) -> Command:
    if not flag:
        return (f"{{{name}}}",)
    if _takes_several({}, plain):
        return (f"{flag}{{?{name}}}", f"{{{name}}}")  # the option once, then all values
    several = plain.get("multiple") is True or "append" in str(plain.get("action"))
    return flagged(flag, name, boolean=type_ == "boolean", always=always and not several)


def _python_type(
    words: dict[str, ast.expr], plain: dict[str, Any], names: list[str]
) -> tuple[str, tuple[str, ...]]:
    is_flag = plain.get("is_flag") is True or plain.get("count") is True or "flag_value" in plain
    is_flag = is_flag or any("/-" in name for name in names)
    is_flag = is_flag or _last_name(words.get("action")) == "BooleanOptionalAction"
    if is_flag or plain.get("action") in _FLAGS:
        return "boolean", ()
    named = words.get("type")
    choices = words.get("choices")
    if isinstance(named, ast.Call):
        name = _last_name(named.func)
        choices = named.args[0] if name == "Choice" and named.args else choices
    else:
        name = str(plain.get("type") or _last_name(named))  # optparse has the name itself
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
