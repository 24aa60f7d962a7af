"""Write the pages that are made from the code: the API and the settings.

`docs/reference/api.md` has the docstrings of the public names, `docs/reference/settings.md` every
key of `dama.toml`, with its meaning, kind and default from the models that read it. `--check` only
says whether the pages are those of the code.
"""

from __future__ import annotations

import inspect
import re
import sys
from dataclasses import MISSING, fields, is_dataclass
from importlib import import_module
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dama.broker.options import BrokerOptions
from dama.config.config import BROKER_NAMES, FILE_KEYS
from dama.definitions.declaration import PROGRAM_KEYS, ProgramSettings
from dama.definitions.declared_params import PARAM_KEYS
from dama.definitions.options import TaskOptions
from dama.definitions.policies import BreakerPolicy, BulkheadPolicy, RetryPolicy
from dama.definitions.program import ExitCodes, ProgramSpec
from dama.definitions.program_params import TYPES, ProgramParam
from dama.definitions.tap import TAP_KEYS, TapSpec
from dama.gateway.settings import KEYS as GATEWAY_KEYS
from dama.gateway.settings import GatewaySettings
from dama.launchers.launcher import LauncherSettings
from dama.launchers.settings import KEYS as LAUNCHER_KEYS
from dama.openlineage.settings import KEYS as OPENLINEAGE_KEYS
from dama.openlineage.settings import OpenLineageSettings
from dama.shipped.node_settings import ACCESS_KEYS
from dama.shipped.node_settings import SETTINGS as BROKER_KEYS
from dama.upkeep.cleaning import Keep

if TYPE_CHECKING:
    from types import ModuleType

PAGES = Path(__file__).resolve().parent.parent / "docs" / "reference"
MADE = "<!-- Made by `make reference` from the code: change it there. -->"
MODULES = {
    "dama": "What tasks, services and programs are written with.",
    "dama.data": "For rows and checks within a step of one's own.",
    "dama.testing": "For tests of slices and tasks.",
    "dama.store": "Direct access to events, for programs that follow the log.",
}
SECTION = re.compile(r"^(Args|Attributes|Returns|Raises|Yields|Source):$")
ENTRY = re.compile(r"^(\*{0,2}\w+): (.*)$")
KINDS = {
    "str": "string",
    "int": "whole number",
    "float": "number",
    "bool": "true or false",
    "int | str": 'bytes, or a string such as `"512MiB"`',
    "float | str": 'seconds, or a string such as `"30m"`',
    "object": "any",
    "Strategy": '`"round_robin"` or `"random"`',
    "Singleton": '`"refuse"`, `"return"` or `"queue"`',
    "Literal[4, 5]": "4 or 5",
    "Seconds": 'seconds, or a string such as `"30m"`',
    "Duration": 'seconds, or a string such as `"30m"`',
    "frozenset[int]": "list of whole numbers",
    "Command": "list of strings and of lists of strings",
    "tuple[Mapping[str, Any], ...]": "list of tables",
}
# Where the models have another kind or meaning than the file.
LISTS = ("services", "inherit", "startable", "bus_actions", "offer")
TABLES = (
    "environments", "programs", "keep", "broker", "gateway", "launchers", "settings", "profiles",
    "openlineage", "aliases", "users",
)  # fmt: skip
DURATIONS = ("logs", "work")
OWN_KINDS = {"resources": "table", "protected": "true, or list of strings"}
MEANINGS = {
    "cwd": "The folder where it is started; the folder of the file without it.",
    "command": "The program and its arguments, with placeholders for params.",
    "type": f"{', '.join(TYPES)}.",
    "users": 'What the users may do that a proxy names: `"*@example.org" = "viewer"`, or "none".',
    "aliases": 'Routes of the gateway itself, such as `"GET /items" = "stock.items"`.',
}


# The API


def api_page() -> str:
    """The page of the public names."""
    lines = [MADE, "", "# Python API", ""]
    for module, about in MODULES.items():
        found = import_module(module)
        lines += [f"## {module}", "", about, ""]
        for name in sorted(getattr(found, "__all__", None) or _own_names(found), key=str.lower):
            lines += _entry(name, getattr(found, name))
    return "\n".join(lines).rstrip() + "\n"


def _own_names(module: ModuleType) -> list[str]:
    return [
        name
        for name, value in vars(module).items()
        if not name.startswith("_")
        and (inspect.isclass(value) or inspect.isfunction(value))
        and value.__module__ == module.__name__
    ]


def _entry(name: str, value: object) -> list[str]:
    """A name: its signature, its docstring and its members."""
    lines = [f"### {name}", ""]
    if inspect.isclass(value):
        is_error = issubclass(value, BaseException)
        lines += [f"`{name}{'' if is_error else _signature(value)}`", ""]
        lines += _docstring(value.__doc__ or "")
        if code := vars(value).get("code"):
            lines += [f"Code: `{code}`.", ""]
        for member, found in _members(value):
            lines += _member(f"{name}.{member}", found)
    elif callable(value):
        lines += [f"`{name}{_signature(value)}`", "", *_docstring(value.__doc__ or "")]
    else:
        lines += [f"`{name}`, a constant of the kind `{type(value).__name__}`.", ""]
    return lines


def _members(kind: type) -> list[tuple[str, object]]:
    """The public methods and properties, also those of its base classes in dama."""
    found: dict[str, object] = {}
    for base in kind.__mro__:
        if base.__module__.startswith("dama"):
            for name, value in vars(base).items():
                is_member = inspect.isroutine(value) or isinstance(value, property)
                if is_member and not name.startswith("_") and inspect.getdoc(value):
                    found.setdefault(name, value)
    return list(found.items())


def _member(name: str, value: object) -> list[str]:
    if isinstance(value, property):
        return [f"#### {name}", "", *_docstring(value.__doc__ or "")]
    function = inspect.unwrap(getattr(value, "__func__", value))
    is_coroutine = inspect.iscoroutinefunction(function)
    signature = f"{'await ' if is_coroutine else ''}{name}{_signature(function)}"
    return [f"#### {name}", "", f"`{signature}`", "", *_docstring(function.__doc__ or "")]


def _signature(value: Any) -> str:
    """The signature as it is written, without `self` and what is only for the type checker."""
    try:
        found = list(inspect.signature(value).parameters.values())
    except (TypeError, ValueError):
        return "(...)"
    shown: list[str] = []
    for place, each in enumerate(found):
        if (each.name == "self" and place == 0) or (each.name.startswith("_") and not shown):
            continue
        if each.kind is each.KEYWORD_ONLY and "*" not in "".join(part[:1] for part in shown):
            shown.append("*")
        shown.append(_parameter(each))
    return f"({', '.join(shown)})"


def _parameter(each: inspect.Parameter) -> str:
    stars = {each.VAR_POSITIONAL: "*", each.VAR_KEYWORD: "**"}.get(each.kind, "")
    text = f"{stars}{each.name}"
    if each.annotation is not each.empty:
        kind = each.annotation
        text += f": {kind if isinstance(kind, str) else getattr(kind, '__name__', kind)}"
    if each.default is not each.empty:
        default = repr(each.default)
        text += " = ..." if "<" in default or "(" in default[1:] else f" = {default}"
    return text


def _docstring(text: str) -> list[str]:
    """A docstring as Markdown: its sections become lists."""
    lines: list[str] = []
    section = ""
    for line in inspect.cleandoc(text).splitlines():
        if found := SECTION.match(line):
            section = found[1]
            lines += [f"{section}:", ""]
        elif not section or not line.strip():
            lines.append(line)
        elif (entry := ENTRY.match(line.strip())) and line.startswith("    ") and line[4] != " ":
            lines.append(f"- `{entry[1]}`: {entry[2]}")
        elif line.startswith("    ") and lines[-1] == "":
            lines.append(f"- {line.strip()}")
        else:
            lines.append(f"  {line.strip()}")
    return [*lines, ""]


# The settings


def settings_page() -> str:
    """The page of the settings."""
    programs = (ProgramSpec, TaskOptions)
    kind = {"kind": '`"singer"` for a tap, whose output is loaded into tables.'}
    common = [key for key in PROGRAM_KEYS if key not in (*kind, *TAP_KEYS)]
    taps = _meanings(TAP_KEYS, TapSpec)
    environment = {key: name for name, key in BROKER_NAMES.items()}
    broker = ACCESS_KEYS | {
        key: _meaning(key, BrokerOptions) for key in BROKER_KEYS if key not in ACCESS_KEYS
    }
    for key, name in environment.items():
        broker[key] += f" Also `{name}` in the environment."
    parts = [
        _part("At the top", FILE_KEYS, ()),
        _part("[keep]", _meanings([f.name for f in fields(Keep)], Keep), (Keep,)),
        _part("[gateway]", _gateway(), (GatewaySettings,)),
        _part("[broker]", broker, (BrokerOptions,)),
        *(
            _part(f"[broker.{name}]", _meanings(_numbers(kind), kind), (kind,))
            for name, kind in {
                "retries": RetryPolicy,
                "breaker": BreakerPolicy,
                "bulkhead": BulkheadPolicy,
            }.items()
        ),
        _part("[launchers.NAME]", _meanings(LAUNCHER_KEYS, LauncherSettings), (LauncherSettings,)),
        _part(
            "[openlineage]",
            _meanings(OPENLINEAGE_KEYS, OpenLineageSettings),
            (OpenLineageSettings,),
        ),
        _part('[programs."SERVICE.NAME"]', kind | _meanings(common, *programs), programs),
        _part('[programs."SERVICE.NAME"] with kind = "singer"', taps, (TapSpec, ProgramSpec)),
        _part('[programs."SERVICE.NAME".exit_codes]', _all(ExitCodes), (ExitCodes,)),
        _part(
            '[programs."SERVICE.NAME".params.NAME]',
            _meanings(PARAM_KEYS, ProgramParam),
            (ProgramParam,),
        ),
    ]
    intro = (
        "Every key of `dama.toml`, or of `[tool.dama]` in `pyproject.toml`, looked for in\n"
        "the current folder and those above it. Flags win over the environment, the environment\n"
        "wins over the file. Keys and placeholders of programs are explained in\n"
        "[programs](programs.md)."
    )
    return (
        "\n".join([MADE, "", "# Settings", "", intro, "", *chain.from_iterable(parts)]).rstrip()
        + "\n"
    )


def _gateway() -> dict[str, str]:
    """`url` is read where programs are started: the gateway itself does not need it."""
    url = "The address that programs are told; by default the one that `dama up` serves."
    others = [key for key in GATEWAY_KEYS if key != "url"]
    return {"url": url} | _meanings(others, GatewaySettings)


def _part(title: str, meanings: dict[str, str], models: tuple[type, ...]) -> list[str]:
    lines = [f"## {title}", "", "| key | is | value | default |", "|---|---|---|---|"]
    for key, meaning in meanings.items():
        text = meaning.replace("|", "\\|")
        lines.append(f"| `{key}` | {text} | {_kind(key, models)} | {_default(key, models)} |")
    return [*lines, ""]


def _meanings(keys: Any, *models: type) -> dict[str, str]:
    return {key: _meaning(key, *models) for key in keys}


def _all(model: type) -> dict[str, str]:
    return _meanings([field.name for field in fields(model)], model)


def _numbers(model: type) -> list[str]:
    return [name for name, value in vars(model()).items() if isinstance(value, int | float)]


def _meaning(key: str, *models: type) -> str:
    """What the docstring of a model says of a key."""
    if key in MEANINGS:
        return MEANINGS[key]
    for model in models:
        found = _attributes(model)
        if key in found:
            return found[key].replace("None for", "without it")
    raise SystemExit(f"The docstrings of {', '.join(m.__name__ for m in models)} have no {key}.")


def _attributes(model: type) -> dict[str, str]:
    """The section Attributes of a docstring."""
    _, _, section = inspect.cleandoc(model.__doc__ or "").partition("Attributes:\n")
    entries: dict[str, str] = {}
    name = ""
    for line in section.splitlines():
        if (entry := ENTRY.match(line.strip())) and not line.startswith("     "):
            name, entries[entry[1]] = entry[1], entry[2]
        elif line.strip():
            entries[name] += f" {line.strip()}"
    return entries


def _kind(key: str, models: tuple[type, ...]) -> str:
    """The values of a key, in words."""
    if key in DURATIONS and Keep in models:
        return KINDS["float | str"]
    if key in OWN_KINDS:
        return OWN_KINDS[key]
    if key in LISTS or (key in TABLES and ProgramSpec not in models):
        return "list of strings" if key in LISTS else "table"
    annotation = ProgramSettings.__annotations__.get(key) if ProgramSpec in models else None
    for model in models:
        annotation = annotation or model.__annotations__.get(key)
    text = getattr(annotation, "__forward_arg__", annotation) or "str"
    text = str(text).removesuffix(" | None")
    if text in KINDS:
        return KINDS[text]
    if text.startswith(("tuple", "Sequence")):
        return "list of strings"
    return "table" if text.startswith(("Mapping", "ExitCodes")) or "Policy" in text else "string"


def _default(key: str, models: tuple[type, ...]) -> str:
    for model in models:
        for field in fields(model) if is_dataclass(model) else ():
            if field.name == key:
                made = field.default_factory
                value = field.default if made is MISSING else made()
                return "required" if value is MISSING else _shown(value)
    return "none"


def _shown(value: object) -> str:
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    if isinstance(value, frozenset):
        return f"`{sorted(value)}`" if value else "none"
    if isinstance(value, str):
        return f'`"{value}"`' if value else "none"
    return f"`{value}`" if isinstance(value, int | float) else "none"


def main() -> int:
    """Write the pages, or only check them."""
    made = {PAGES / "api.md": api_page(), PAGES / "settings.md": settings_page()}
    if "--check" not in sys.argv[1:]:
        for path, text in made.items():
            path.write_text(text, "utf-8")
        return 0
    stale = [p.name for p, text in made.items() if not p.exists() or p.read_text("utf-8") != text]
    if stale:
        print(f"{', '.join(stale)} of docs/reference differ from the code: run `make reference`.")
    return 1 if stale else 0


if __name__ == "__main__":
    sys.exit(main())
