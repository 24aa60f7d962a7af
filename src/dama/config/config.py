"""Configuration: where the database is, where dama keeps its files, what has services.

Flags win over the environment, the environment over the file, the file over the defaults. It is
read once and frozen. The file is `dama.toml`, or `[tool.dama]` of a `pyproject.toml`, in the
current folder or the nearest one above it.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from types import MappingProxyType
from typing import Any

from dama.config.environments import chosen_of, laid_on, namespaced, read_environments
from dama.config.errors import ConfigError
from dama.config.pg_env import PG_SIGNS, as_conninfo, conninfo_of, env_file
from dama.config.profiles import VARIABLE, is_protected, profiled
from dama.shapes import is_dict, is_list

# With what they mean, for docs/reference/settings.md.
FILE_KEYS = {
    "services": "Modules that are imported for their services: a list.",
    "programs": "Programs as tasks: a table of tables, see below.",
    "inherit": "What all programs get of the worker's environment: a list of names, or `NAME*`.",
    "keep": "How long files of runs stay: a table, see below.",
    "database_url": "The database, when neither a flag nor the environment names one.",
    "environments": "Databases by their names, which one `dama up`, worker or gateway serves: each "
    "a connection string, or a table of `database_url` and `broker`, which is empty for "
    "`config/postgres.NAME.env`. The first is that of commands without `--pg-env`.",
    "broker": "How calls are made, and the bus: a table, see below.",
    "gateway": "How HTTP is served: a table, see below.",
    "launchers": "Engines that place runs on other machines: a table of tables, see below.",
    "openlineage": "Where events of OpenLineage are sent: a table, see below.",
    "settings": "The project's own: a table, which `dama.settings(Model)` reads in a type.",
    "protected": "Commands that change what is there ask first, or want `--yes`: true, or where, "
    "as a list of names of `--pg-env` and `--profile`.",
    "profiles": "What is different in an environment: `[profiles.NAME]`, with any key of these.",
}
TABLES = {
    "programs": '[programs."flights.import"] with command = ["./import.sh"]',
    "keep": '[keep] with logs = "30d" and work = "1d"',
    "broker": '[broker] with url = "nats://127.0.0.1:4222"',
    "gateway": "[gateway] with port = 8080",
    "launchers": '[launchers.slurm] with kind = "slurm"',
    "openlineage": '[openlineage] with transport = { type = "console" }',
    "environments": '[environments] with test = "postgresql://localhost/test"',
    "settings": "[settings] with batch = 500",
    "profiles": '[profiles.test] with database_url = "postgresql://localhost/test"',
}
READ_LATER = ("programs", "keep", "gateway", "launchers", "openlineage", "settings")
BROKER_NAMES = {
    "DAMA_BROKER_URL": "url",
    "DAMA_NAMESPACE": "namespace",
    "DAMA_NODE_ID": "node_id",
    "DAMA_BROKER_USER": "user",
    "DAMA_BROKER_PASSWORD": "password",
    "DAMA_BROKER_TOKEN": "token",
    "DAMA_BROKER_CREDS": "creds_file",
    "DAMA_BROKER_NKEY": "nkey_file",
}


@dataclass(frozen=True)
class EmbeddedDatabase:
    """The PostgreSQL that belongs to this home."""


@dataclass(frozen=True)
class ExternalDatabase:
    """A PostgreSQL that somebody else runs.

    Attributes:
        conninfo: As libpq takes it: a URL, or names and values.
        source: Where it was found, for messages.
    """

    conninfo: str = field(repr=False)
    source: str


@dataclass(frozen=True)
class Config:
    """All settings.

    Attributes:
        home: The folder of the embedded database and of other state.
        database: Which PostgreSQL.
        services: Modules to import for their services.
        project: The folder of the settings file, or the current one.
        programs: Declarations by task, as the file has them; `dama.definitions.declaration` reads
            them.
        inherit: What all programs get of the worker's environment, as the file has it;
            `dama.definitions.inherit` reads it.
        source: The name of the settings file; empty when there is none.
        keep: How long things stay, as the file has it; `dama.upkeep.cleaning` reads it.
        broker: How calls are made, as the file has it; `dama.shipped.node` reads it.
        gateway: How HTTP is served, as the file has it; `dama.gateway.settings` reads it.
        launchers: Engines, as the file has them; `dama.launchers.settings` reads them.
        openlineage: Where events of OpenLineage go, as the file has it; `dama.openlineage.settings`
            reads it.
        settings: The project's own, as the file has them; `dama.settings` reads them.
        profile: Which was chosen; None for none.
        environment: The name of the environment: that of `--pg-env`, or of the profile.
        environments: The names of those that are served together, the first one being this;
            empty where one is chosen.
        is_protected: Whether commands ask before they change it.
    """

    home: Path
    database: EmbeddedDatabase | ExternalDatabase
    services: tuple[str, ...]
    project: Path
    programs: Mapping[str, object] = field(default_factory=dict[str, object])
    inherit: object = None
    source: str = ""
    keep: Mapping[str, object] = field(default_factory=dict[str, object])
    broker: Mapping[str, object] = field(default_factory=dict[str, object])
    gateway: Mapping[str, object] = field(default_factory=dict[str, object])
    launchers: Mapping[str, object] = field(default_factory=dict[str, object])
    openlineage: Mapping[str, object] = field(default_factory=dict[str, object])
    settings: Mapping[str, object] = field(default_factory=dict[str, object])
    profile: str | None = None
    environment: str | None = None
    environments: tuple[str, ...] = ()
    is_protected: bool = False


def load_config(
    *,
    cwd: Path | None = None,
    environ: Mapping[str, str] | None = None,
    pg_env: str | None = None,
    database_url: str | None = None,
    home: Path | None = None,
    profile: str | None = None,
) -> Config:
    """Read the settings.

    Args:
        cwd: Where the search for the file begins; the current folder by default.
        environ: The environment; that of the process by default.
        pg_env: An environment of the file, or NAME of `config/postgres.NAME.env`.
        database_url: A connection string that wins over everything else.
        home: The state folder, instead of DAMA_HOME.
        profile: Which of the file's profiles holds, instead of DAMA_PROFILE.

    Raises:
        ConfigError: A setting is unknown or a file cannot be used.
        UnknownProfileError: The file has no such profile.
        MissingVariableError: A setting names a variable that is not set.
    """
    environ = os.environ if environ is None else environ
    project, settings, source = _read_file((cwd or current_folder()).absolute())
    profile = profile or environ.get(VARIABLE) or None
    settings = profiled(settings, profile, source)
    environments = read_environments(settings.pop("environments", {}), source)
    database = _chosen(project, environ, pg_env, database_url, environments)
    name, own, served = chosen_of(environments, pg_env, is_free=database is None)
    settings = laid_on(settings, own, name, environ, source)
    as_they_are: dict[str, Any] = {
        key: MappingProxyType(settings.get(key, {})) for key in READ_LATER
    }
    return Config(
        **as_they_are,
        home=home.expanduser().absolute() if home else home_of(environ),
        database=database or _from_file(project, settings, own, name, source),
        services=tuple(settings.get("services", ())),
        project=project,
        inherit=settings.get("inherit"),
        source=source,
        broker=MappingProxyType(_with_environment(settings.get("broker", {}), environ, own, name)),
        profile=profile,
        environment=pg_env or name or profile,
        environments=served,
        is_protected=is_protected(settings.get("protected", False), pg_env or name, profile),
    )


def current_folder() -> Path:
    """The folder of this process.

    Raises:
        ConfigError: Somebody has deleted it.
    """
    try:
        return Path.cwd()
    except FileNotFoundError:
        raise ConfigError(
            "The current folder does not exist any more.", "Change to one that does, as with cd ~."
        ) from None


def home_of(environ: Mapping[str, str]) -> Path:
    """The folder of dama's files that an environment names."""
    if home := environ.get("DAMA_HOME"):
        return Path(home).expanduser().absolute()
    state = Path(environ.get("XDG_STATE_HOME") or "")
    # The base directory specification wants a relative one passed over.
    if not state.is_absolute():
        state = Path(environ.get("HOME") or Path.home(), ".local/state")
    return state / "dama"


def _chosen(
    project: Path,
    environ: Mapping[str, str],
    pg_env: str | None,
    database_url: str | None,
    environments: Mapping[str, object],
) -> ExternalDatabase | None:
    """What the flags or the environment name; None for what the file has."""
    if database_url:
        return ExternalDatabase(database_url, "--database-url")
    if pg_env in environments:
        return None
    if pg_env is not None:
        path = env_file(project, pg_env, environments)
        return ExternalDatabase(conninfo_of(path), str(path.relative_to(project)))
    if url := environ.get("DAMA_DATABASE_URL"):
        return ExternalDatabase(url, "DAMA_DATABASE_URL")
    if signs := [name for name in PG_SIGNS if environ.get(name)]:
        return ExternalDatabase(as_conninfo(environ), f"the environment ({', '.join(signs)})")
    return None


def _from_file(
    project: Path,
    settings: Mapping[str, Any],
    own: Mapping[str, Any],
    name: str | None,
    source: str,
) -> EmbeddedDatabase | ExternalDatabase:
    """The database of an environment: its own, or that of its env file; or that of the project."""
    if name is not None and "database_url" not in own:
        path = env_file(project, name)
        return ExternalDatabase(conninfo_of(path), str(path.relative_to(project)))
    url: str | None = settings.get("database_url")
    if not url:
        return EmbeddedDatabase()
    return ExternalDatabase(url, source if name is None else f"environments.{name} of {source}")


def _with_environment(
    table: Mapping[str, object],
    environ: Mapping[str, str],
    own: Mapping[str, Any],
    name: str | None,
) -> Mapping[str, object]:
    """What the file says of the broker, under what the variables say, in an environment."""
    given = {key: environ.get(variable) for variable, key in BROKER_NAMES.items()}
    broker = {**table, **{key: value for key, value in given.items() if value}}
    return namespaced(broker, own, name) if name else broker


def _read_file(start: Path) -> tuple[Path, Mapping[str, Any], str]:
    """The folder of the nearest settings file, what is in it, and its name."""
    for folder in (start, *start.parents):
        for name in ("dama.toml", "pyproject.toml"):
            path = folder / name
            if path.is_file() and (settings := _settings(path)) is not None:
                _check(path, settings)
                for profile, own in settings.get("profiles", {}).items():
                    _check_profile(path, profile, own)
                return folder, settings, name
    return start, {}, ""


def _settings(path: Path) -> Mapping[str, Any] | None:
    """What is in the file for dama; None when it is another project's."""
    content = _parse(path)
    if path.name == "dama.toml":
        return content
    settings = content.get("tool", {}).get("dama")
    if settings is None or is_dict(settings):
        return settings
    raise ConfigError(f"dama of {path} must be a table.", "Write [tool.dama].")


def _parse(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text("utf-8-sig"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigError(f"{path} cannot be read: {error}.", "Correct the file.") from error


def _check_profile(path: Path, name: str, settings: object) -> None:
    if not is_dict(settings):
        raise ConfigError(
            f"profiles.{name} of {path} must be a table.", f"Write [profiles.{name}]."
        )
    if "profiles" in settings:
        raise ConfigError(f"profiles.{name} of {path} has profiles itself.", "Leave them out.")
    _check(path, settings)


def _check(path: Path, settings: Mapping[str, Any]) -> None:
    for key in settings:
        if key not in FILE_KEYS:
            near = get_close_matches(key, FILE_KEYS, n=1)
            raise ConfigError(
                f"{path} has the unknown setting {key!r}.",
                f"Did you mean {near[0]!r}?" if near else f"Known are {', '.join(FILE_KEYS)}.",
            )
    if not isinstance(settings.get("database_url", ""), str):
        raise ConfigError(
            f"database_url of {path} must be a string.",
            'Write database_url = "postgresql://host/database".',
        )
    protected: object = settings.get("protected", False)
    if not isinstance(protected, bool) and not _is_texts(protected):
        raise ConfigError(
            f"protected of {path} must be true, false or a list of names.",
            'Write protected = ["production"].',
        )
    for key, example in TABLES.items():
        if not isinstance(settings.get(key, {}), dict):
            raise ConfigError(f"{key} of {path} must be a table.", f"Write {example}.")
    if not _is_texts(settings.get("services", [])):
        raise ConfigError(
            f"services of {path} must be a list of modules.", 'Write services = ["etl.flights"].'
        )


def _is_texts(value: object) -> bool:
    return is_list(value) and all(isinstance(each, str) for each in value)
