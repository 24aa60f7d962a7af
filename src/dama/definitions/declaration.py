"""Declarations: programs as `dama.toml` or `service.program(...)` has them, read and checked.

All that can be known before a run is refused here: unknown keys, wrong types, placeholders without
a param, secrets in a command, values within code that another program would run.
"""

from __future__ import annotations

import re
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict, cast

from dama.config.duration import Duration, parse_duration
from dama.config.table import Table
from dama.definitions.command import placeholders
from dama.definitions.declared_command import check_placeholders, read_command
from dama.definitions.declared_params import SECRET_HINTS, read_params
from dama.definitions.inherit import read_inherit
from dama.definitions.options import Singleton, TaskOptions, TaskSettings, read_options
from dama.definitions.program import LOG_CAP, ProgramSpec
from dama.definitions.tap import DBT, WORTHLESS, TapSpec, read_kind, read_tap
from dama.domain.exit import ExitCodes
from dama.errors import InvalidDefinitionError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from dama.definitions.program_params import ProgramParam
    from dama.definitions.resources import ResourceSettings


class ProgramSettings(TypedDict, total=False):
    """What may be written in `service.program(...)`, as the keys of `dama.toml`."""

    kind: str
    config: Mapping[str, Any] | str
    catalog: str
    schema: str
    state_key: str
    bad_rows: str
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
    timeout: Duration
    backoff: Duration
    max_backoff: Duration
    concurrency: int
    concurrency_key: str
    singleton: Singleton
    launcher: str
    resources: ResourceSettings
    inputs: Sequence[str]
    outputs: Sequence[str]
    grace: Duration
    linger: Duration
    pty: bool
    nice: int
    memory: int | str
    log_cap: int | str


PROGRAM_KEYS = ("command", *ProgramSettings.__annotations__)
# What dbt is told by the environment, so that its log and its documents are where they are read.
OF_DBT = ("--target-path", "--log-path", "--log-format-file", "--log-level-file")
_FOR_GOOD = frozenset({WORTHLESS})
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


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
    secrets = _read_secrets(table, params := dict(read_params(table)))
    tap = read_tap(table, params, secrets, base)
    spec = ProgramSpec(
        command=read_command(table, params, secrets),
        cwd=_read_cwd(table, base),
        env=_read_env(table, params, secrets),
        env_files=_read_env_files(table, params, secrets, base),
        secrets=secrets,
        inherit=read_inherit(table),
        exit_codes=_read_exit_codes(table) if tap is None else ExitCodes(fail=_FOR_GOOD),
        pty=table.flag("pty"),
        grace=_seconds(table, "grace", 10.0),
        linger=_seconds(table, "linger", 5.0),
        nice=table.number("nice", -20, 19),
        memory=table.size("memory"),
        log_cap=table.size("log_cap") or LOG_CAP,
        params=params,
        help=table.text("help", ""),
        place=place,
        tap=tap,
        is_dbt=_read_is_dbt(table),
    )
    return spec, _read_options(table, tap)


def _read_is_dbt(table: Table) -> bool:
    is_dbt = read_kind(table) == DBT
    parts: Sequence[object] = table.values.get("command") or ()
    for part in parts if is_dbt else ():
        if str(part).partition("=")[0] in OF_DBT:
            raise InvalidDefinitionError(
                f"{table.where}.command has {part}, which dama sets for a program of kind "
                f'"{DBT}" to read what dbt writes.',
                "Leave it out: the documents of dbt are artifacts of the run.",
            )
    return is_dbt


def _read_options(table: Table, tap: TapSpec | None) -> TaskOptions:
    settings: dict[str, Any] = {
        "queue": table.text("queue"),
        "priority": table.number("priority"),
        "retries": table.number("retries", 0),
        "concurrency": table.number("concurrency", 1),
        "concurrency_key": table.text("concurrency_key"),
        "singleton": table.text("singleton"),
        "launcher": table.text("launcher"),
        "resources": table.values.get("resources"),
        "inputs": table.texts("inputs") or None,
        "outputs": table.texts("outputs") or None,
        **{key: _duration(table, key, None) for key in ("timeout", "backoff", "max_backoff")},
    }
    given = {key: value for key, value in settings.items() if value is not None}
    if tap is not None and not given.keys() & {"concurrency", "concurrency_key", "singleton"}:
        # Two runs would begin at the same state, and one of them would be refused at its end.
        given |= {"concurrency": 1}
        given |= {"concurrency_key": tap.state_key} if tap.state_key else {}
    return read_options(table.where, cast("TaskSettings", given))


def _duration(table: Table, key: str, default: float | None) -> Any:
    wanted = 'seconds, or a string such as "45s", "30m", "1h30m"'
    return table.value(key, (int, float, str, timedelta), wanted, default)


def _seconds(table: Table, key: str, default: float) -> float:
    return parse_duration(_duration(table, key, default), of=f"{table.where}.{key}")


def _read_exit_codes(table: Table) -> ExitCodes:
    codes = table.below("exit_codes", ("done", "retry", "fail"))
    done = codes.integers("done", 0, 255) if codes.has("done") else frozenset({0})
    retry = codes.integers("retry", 0, 255) if codes.has("retry") else None
    fail = codes.integers("fail", 0, 255)
    if twice := (done & fail) | (done & (retry or set())) | (fail & (retry or set())):
        raise InvalidDefinitionError(
            f"{codes.where} has {', '.join(map(str, sorted(twice)))} more than once: "
            "expected each code in one of done, retry, fail."
        )
    return ExitCodes(done, retry, fail)


def _read_env(
    table: Table, params: Mapping[str, ProgramParam], secrets: Sequence[str]
) -> dict[str, str]:
    env = table.entries("env", 'a table of strings, such as { TZ = "UTC" }')
    for name, text in env.items():
        if not isinstance(text, str):
            Table(f"{table.where}.env", env, env).wrong(name, "a string in quotes")
        _check_variable(table, "env", name)
        if name in secrets:
            raise InvalidDefinitionError(
                f"{table.where} has {name} in env and in secrets.",
                "Leave it out of env: the worker passes it on from its own environment.",
            )
        check_placeholders(table, f"env.{name}", text, params, secrets)
    return cast("dict[str, str]", dict(env))


def _read_env_files(
    table: Table, params: Mapping[str, ProgramParam], secrets: Sequence[str], base: Path
) -> tuple[str, ...]:
    files = table.texts("env_files", 'a list of paths, such as ["config/postgres.env"]')
    for file in files:
        check_placeholders(table, "env_files", file, params, secrets)
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
                f"{table.where} has {name} in params and in secrets.", SECRET_HINTS["secret"]
            )
    return secrets


def _check_variable(table: Table, key: str, name: str) -> None:
    if not _VARIABLE.fullmatch(name):
        raise InvalidDefinitionError(
            f"{table.where}.{key} has {name!r}, which is not a valid variable name: "
            "expected letters, digits and _."
        )
    if name.startswith("DAMA_"):
        raise InvalidDefinitionError(
            f"{table.where}.{key} has {name!r}: names with DAMA_ are set by dama itself.",
            "Give it another name.",
        )
