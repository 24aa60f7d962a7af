"""Declarations: programs as `dama.toml` or `service.program(...)` has them, read and checked.

All that can be known before a run is refused here: unknown keys, wrong types, placeholders without
a param, secrets in a command, values within code that another program would run.
"""

from __future__ import annotations

import re
from dataclasses import fields
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict, cast

from dama.config.duration import parse_duration
from dama.config.table import Table, nearest
from dama.definitions.command import WORK_DIR, Command, placeholders
from dama.definitions.inherit import read_inherit
from dama.definitions.options import Singleton, TaskOptions, TaskSettings, read_options
from dama.definitions.program import LOG_CAP, ExitCodes, ProgramSpec
from dama.definitions.program_params import BOUNDED, TYPES, ProgramParam, parse_value
from dama.errors import InvalidDefinitionError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence


class ProgramSettings(TypedDict, total=False):
    """What may be written in `service.program(...)`, as the keys of `dama.toml`."""

    help: str
    cwd: str
    env: Mapping[str, str]
    env_files: Sequence[str]
    secrets: Sequence[str]
    inherit: Sequence[str]
    params: Mapping[str, Mapping[str, Any]]
    exit_codes: Mapping[str, Sequence[int]]
    queue: str
    priority: int
    retries: int
    timeout: float | str
    backoff: float | str
    max_backoff: float | str
    concurrency: int
    concurrency_key: str
    singleton: Singleton
    grace: float | str
    linger: float | str
    pty: bool
    nice: int
    memory: int | str
    log_cap: int | str


PROGRAM_KEYS = ("command", *ProgramSettings.__annotations__)
PARAM_KEYS = tuple(field.name for field in fields(ProgramParam))
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
_PARAM_NAME = re.compile(r"[a-z][a-z0-9_]*")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_HINTS = {"secret": "Params are kept in events. Name an environment variable in `secrets` instead."}
_BRACKETS = 'a list of texts, with brackets around those that belong together: ["--year", "{year}"]'


def read_program(
    where: str, values: object, *, place: str, base: Path
) -> tuple[ProgramSpec, TaskOptions]:
    """Read the declaration of a program.

    Args:
        where: Its place and name, for messages: `dama.toml: programs."flights.import"`.
        values: Its keys.
        place: Where it is declared: a file, with a line if there is one.
        base: The folder that relative paths begin at.

    Raises:
        InvalidDefinitionError: A key is unknown or wrong; the message names it.
    """
    table = Table(where, values, PROGRAM_KEYS)
    params = dict(_read_params(table))
    secrets = _read_secrets(table, params)
    spec = ProgramSpec(
        command=_read_command(table, params, secrets),
        cwd=_read_cwd(table, base),
        env=_read_env(table, params, secrets),
        env_files=_read_env_files(table, params, secrets, base),
        secrets=secrets,
        inherit=read_inherit(table),
        exit_codes=_read_exit_codes(table),
        pty=table.flag("pty"),
        grace=parse_duration(_duration(table, "grace", 10.0), of=f"{where}.grace"),
        linger=parse_duration(_duration(table, "linger", 5.0), of=f"{where}.linger"),
        nice=table.number("nice", -20, 19),
        memory=table.size("memory"),
        log_cap=table.size("log_cap") or LOG_CAP,
        params=params,
        help=table.text("help", ""),
        place=place,
    )
    return spec, _read_options(table)


def _read_options(table: Table) -> TaskOptions:
    settings: dict[str, Any] = {
        "queue": table.text("queue"),
        "priority": table.number("priority"),
        "retries": table.number("retries", 0),
        "concurrency": table.number("concurrency", 1),
        "concurrency_key": table.text("concurrency_key"),
        "singleton": table.text("singleton"),
        **{key: _duration(table, key, None) for key in ("timeout", "backoff", "max_backoff")},
    }
    given = {key: value for key, value in settings.items() if value is not None}
    return read_options(table.where, cast("TaskSettings", given))


def _duration(table: Table, key: str, default: float | None) -> Any:  # noqa: ANN401 - a number or a text
    wanted = 'seconds, or a text such as "45s", "30m", "1h30m"'
    return table.value(key, (int, float, str), wanted, default)


def _read_exit_codes(table: Table) -> ExitCodes:
    codes = table.below("exit_codes", ("done", "retry", "fail"))
    done = codes.integers("done", 0, 255) if codes.has("done") else frozenset({0})
    retry = codes.integers("retry", 0, 255) if codes.has("retry") else None
    fail = codes.integers("fail", 0, 255)
    if twice := (done & fail) | (done & (retry or set())) | (fail & (retry or set())):
        raise InvalidDefinitionError(
            f"{codes.where} has {', '.join(map(str, sorted(twice)))} more than once: "
            "wanted each code in one of done, retry, fail."
        )
    return ExitCodes(done, retry, fail)


# ------------------------------------------------------------------- command and variables


def _read_command(
    table: Table, params: Mapping[str, ProgramParam], secrets: Sequence[str]
) -> Command:
    found: object = table.value("command", (list, tuple), _BRACKETS, None)
    if not found:
        table.wrong("command", _BRACKETS)
    command = tuple(_element(table, part) for part in cast("Sequence[object]", found))
    if not isinstance(command[0], str) or placeholders(command[0]):
        table.wrong("command", "the program itself first, without a placeholder")
    for text in _texts(command):
        _check_placeholders(table, "command", text, params, secrets)
    _refuse_code(table, command)
    _refuse_dangling(table, command, params)
    _refuse_two_lists(table, command, params)
    return command


def _element(table: Table, part: object) -> str | tuple[str, ...]:
    if isinstance(part, str):
        return part
    items = tuple(cast("Sequence[object]", part)) if isinstance(part, list | tuple) else ()
    if not items or not all(isinstance(item, str) for item in items):
        table.wrong("command", _BRACKETS)
    return cast("tuple[str, ...]", items)


def _texts(command: Command) -> Iterator[str]:
    for part in command:
        yield from (part,) if isinstance(part, str) else part


def _check_placeholders(
    table: Table, key: str, text: str, params: Mapping[str, ProgramParam], secrets: Sequence[str]
) -> None:
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
                f"{' and '.join(lists)}: wanted one list in a group."
            )


def _read_env(
    table: Table, params: Mapping[str, ProgramParam], secrets: Sequence[str]
) -> dict[str, str]:
    env = table.entries("env", 'a table of texts, such as { TZ = "UTC" }')
    for name, text in env.items():
        if not isinstance(text, str):
            Table(f"{table.where}.env", env, env).wrong(name, "a text in quotes")
        _check_variable(table, "env", name)
        if name in secrets:
            raise InvalidDefinitionError(
                f"{table.where} has {name} in env and in secrets.",
                "Leave it out of env: the worker passes it on from its own environment.",
            )
        _check_placeholders(table, f"env.{name}", text, params, secrets)
    return cast("dict[str, str]", dict(env))


def _read_env_files(
    table: Table, params: Mapping[str, ProgramParam], secrets: Sequence[str], base: Path
) -> tuple[str, ...]:
    files = table.texts("env_files", 'a list of paths, such as ["config/postgres.env"]')
    for file in files:
        _check_placeholders(table, "env_files", file, params, secrets)
        if placeholders(str(Path(file).parent)):
            table.wrong("env_files", "placeholders only in the last part of a path")
    return tuple(str(base / Path(file).expanduser()) for file in files)


def _read_cwd(table: Table, base: Path) -> str:
    cwd: str = table.text("cwd", ".")
    if placeholders(cwd):
        table.wrong("cwd", "a folder, without placeholders")
    return str(base / Path(cwd).expanduser())


def _read_secrets(table: Table, params: Mapping[str, ProgramParam]) -> tuple[str, ...]:
    secrets = table.texts("secrets", 'a list of names of variables, such as ["PGPASSWORD"]')
    for name in secrets:
        _check_variable(table, "secrets", name)
        if name in params:
            raise InvalidDefinitionError(
                f"{table.where} has {name} in params and in secrets.", _HINTS["secret"]
            )
    return secrets


def _check_variable(table: Table, key: str, name: str) -> None:
    if not _VARIABLE.fullmatch(name):
        raise InvalidDefinitionError(
            f"{table.where}.{key} has {name!r}, which is no name of a variable: "
            "wanted letters, digits and _."
        )
    if name.startswith("DAMA_"):
        raise InvalidDefinitionError(
            f"{table.where}.{key} has {name!r}: names with DAMA_ are set by dama itself.",
            "Give it another name.",
        )


# ---------------------------------------------------------------------------------- params


def _read_params(table: Table) -> Iterator[tuple[str, ProgramParam]]:
    params = table.entries("params", 'a table of tables, such as { year = { type = "integer" } }')
    for name, values in params.items():
        where = f"{table.where}.params.{name}"
        if not _PARAM_NAME.fullmatch(name):
            raise InvalidDefinitionError(
                f"{where} can not be the name of a param.",
                "Names are lower-case letters, digits and _, and begin with a letter.",
            )
        yield name, _read_param(Table(where, values, PARAM_KEYS, _HINTS))


def _read_param(table: Table) -> ProgramParam:
    type_ = table.text("type", "string")
    if type_ not in TYPES:
        table.wrong("type", f"one of {', '.join(TYPES)}", nearest(type_, TYPES))
    choices = table.texts("choices")
    if choices and type_ != "string":
        table.wrong("type", "string, for only texts have choices")
    several = table.flag("list")
    least, most = (_read_bound(table, key, type_) for key in ("min", "max"))
    if _exceeds(table, "min", least, most):
        table.wrong("min", f"at most {table.values['max']}, the max")
    default = _read_default(table, type_, several=several)
    required = table.flag("required", default=default is None and not several)
    if required and default is not None:
        table.wrong("required", "false, or no default")
    param = ProgramParam(
        type=type_,
        required=required,
        default=default,
        help=" ".join(table.text("help", "").split()),
        choices=choices,
        min=table.values.get("min"),
        max=table.values.get("max"),
        list=several,
    )
    _check_default(table, param)
    return param


def _read_bound(table: Table, key: str, type_: str) -> Any:  # noqa: ANN401 - what the type compares with
    if table.has(key) and type_ not in BOUNDED:
        raise InvalidDefinitionError(
            f"{table.where} has {key}, but is of the type {type_}: "
            f"wanted one of {', '.join(BOUNDED)}."
        )
    return _parsed(table, key, type_, table.values.get(key))


def _read_default(table: Table, type_: str, *, several: bool) -> Any:  # noqa: ANN401 - of any type
    default = table.values.get("default")
    if type_ == "boolean" and default is None and not several and not table.flag("required"):
        return False  # a flag that is not given
    if several and default is not None and not isinstance(default, list | tuple):
        table.wrong("default", "a list")
    return cast("Any", default)


def _check_default(table: Table, param: ProgramParam) -> None:
    if param.default is None:
        return
    items = cast("list[object]", param.default if param.list else [param.default])
    for item in items:
        value = _parsed(table, "default", param.type, item)
        if param.choices and value not in param.choices:
            table.wrong("default", f"one of {', '.join(param.choices)}")
        least, most = param.parsed(param.min), param.parsed(param.max)
        if _exceeds(table, "default", least, value) or _exceeds(table, "default", value, most):
            table.wrong("default", "what min and max allow")


def _exceeds(table: Table, key: str, less: Any, more: Any) -> bool:  # noqa: ANN401 - what a type compares with
    try:
        return less is not None and more is not None and less > more
    except TypeError:
        table.wrong(key, "an offset in all timestamps of the param, or in none")


def _parsed(table: Table, key: str, type_: str, value: object) -> Any:  # noqa: ANN401 - any value
    if value is None:
        return None
    try:
        return parse_value(type_, value)
    except ValueError as error:
        table.wrong(key, str(error))
