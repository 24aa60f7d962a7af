"""Environments: the databases of one project, each by its name, which one controller may serve.

Services and tasks are the same in all of them; contexts are apart. The first one is meant where
nothing else says which database it is.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from dama.config.variables import filled
from dama.errors import UsageError
from dama.shapes import is_object

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

KEYS = ("database_url", "broker")
# What the gateway has at the beginning of a path, so that no environment may be called so.
TAKEN = frozenset({
    "api", "archive", "contexts", "doctor", "events", "health", "log", "login", "logout", "metrics",
    "openapi.json", "queues", "ready", "run", "schedules", "services", "sessions", "settings",
    "slices", "static", "stream", "tasks", "tokens", "upkeep", "workers",
})  # fmt: skip
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,62}", re.ASCII)


class WrongEnvironmentError(UsageError):
    """An environment of the settings file cannot be one."""

    code = "ENVIRONMENT"


def read_environments(value: object, path: Path | str) -> dict[str, dict[str, Any]]:
    """The environments of a settings file, in its order, each with what is different there.

    Raises:
        WrongEnvironmentError: A name is taken or is none, or a setting is unknown.
    """
    if not is_object(value):
        raise WrongEnvironmentError(
            f"environments of {path} must be a table.",
            'Write [environments] with production = "postgresql://db.example.org/etl".',
        )
    return {name: _own(name, each, path) for name, each in value.items()}


def chosen_of(
    environments: Mapping[str, Mapping[str, Any]], chosen: str | None, *, is_free: bool
) -> tuple[str | None, Mapping[str, Any], tuple[str, ...]]:
    """The environment that is meant, with what is its own, and all that are served together.

    Args:
        environments: Those of the file.
        chosen: What `--pg-env` says.
        is_free: Nothing else says which database it is.
    """
    served = tuple(environments) if is_free and chosen is None else ()
    name = chosen if chosen in environments else next(iter(served), None)
    return name, environments.get(name or "", {}), served


def laid_on(
    settings: Mapping[str, Any],
    own: Mapping[str, Any],
    name: str | None,
    environ: Mapping[str, str],
    source: str,
) -> dict[str, Any]:
    """Settings of a project, as they are in one of its environments, with their variables filled.

    Variables of what the environment replaces need not be set.

    Raises:
        MissingVariableError: A variable is not set; it is named with the table that names it.
    """
    own_broker = own.get("broker", {})
    broker = settings.get("broker", {})
    kept = {key: value for key, value in settings.items() if key not in own}
    kept["broker"] = {key: value for key, value in broker.items() if key not in own_broker}
    common = filled(kept, environ, source)
    its_own = filled({"environments": {name: own}}, environ, source)["environments"][name]
    both = {**common["broker"], **its_own.get("broker", {})}
    return {**common, **its_own, "broker": both}


def namespaced(
    broker: Mapping[str, object], own: Mapping[str, Any], name: str
) -> Mapping[str, object]:
    """How calls are made in an environment: its nodes do not see those of others.

    Its name is a part of the namespace, unless it has one of its own.
    """
    if "namespace" in own.get("broker", {}):
        return broker
    parts = (broker.get("namespace"), name)
    return {**broker, "namespace": "-".join(str(each) for each in parts if each)}


def _own(name: str, value: object, path: Path | str) -> dict[str, Any]:
    if not _NAME.fullmatch(name) or name.lower() in TAKEN:
        raise WrongEnvironmentError(
            f"{path}: no environment can have the name {name!r}.",
            "It is a part of addresses: a letter, then letters, digits, - and _; "
            f"not one of {', '.join(sorted(TAKEN))}.",
        )
    if isinstance(value, str):
        return {"database_url": value}
    if not is_object(value):
        raise WrongEnvironmentError(
            f"{path}: environments.{name} must be a string or a table.",
            f'Write {name} = "postgresql://db.example.org/etl", or {name} = {{}} for '
            f"config/postgres.{name}.env.",
        )
    for key in value:
        if key not in KEYS:
            raise WrongEnvironmentError(
                f"{path}: environments.{name} has the setting {key!r}.",
                f"It may have {' and '.join(KEYS)}; all others are those of the project.",
            )
    return dict(value)
