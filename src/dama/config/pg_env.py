"""libpq's names for where a database is, in variables and in files `config/postgres.NAME.env`."""

from __future__ import annotations

from difflib import get_close_matches
from typing import TYPE_CHECKING

from dama.config.env_file import read_variables
from dama.config.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

# Any of these says that a person meant libpq's own variables.
PG_SIGNS = ("PGHOST", "PGHOSTADDR", "PGSERVICE", "PGDATABASE")
PG_NAMES = {
    "PGHOST": "host",
    "PGHOSTADDR": "hostaddr",
    "PGPORT": "port",
    "PGDATABASE": "dbname",
    "PGUSER": "user",
    "PGPASSWORD": "password",
    "PGSERVICE": "service",
    "PGSSLMODE": "sslmode",
    "PGSSLROOTCERT": "sslrootcert",
    "PGSSLCERT": "sslcert",
    "PGSSLKEY": "sslkey",
    "PGCHANNELBINDING": "channel_binding",
    "PGCONNECT_TIMEOUT": "connect_timeout",
    "PGTARGETSESSIONATTRS": "target_session_attrs",
    "PGAPPNAME": "application_name",
    "PGOPTIONS": "options",
    "PGPASSFILE": "passfile",
}


def env_file(project: Path, name: str, others: Iterable[str] = ()) -> Path:
    """The file `config/postgres.NAME.env` of a project.

    Args:
        project: Its folder.
        name: Of the environment.
        others: Environments that are known besides.

    Raises:
        ConfigError: There is none; those that are there are named.
    """
    folder = project / "config"
    path = folder / f"postgres.{name}.env"
    if "/" in name or not path.is_file():
        known = sorted(
            {
                *others,
                *(
                    found.name.removeprefix("postgres.").removesuffix(".env")
                    for found in folder.glob("postgres.*.env")
                ),
            }
        )
        raise ConfigError(
            f"There is no config/postgres.{name}.env in {project}.",
            f"There is: {', '.join(known)}."
            if known
            else "No such file is there: write one with PGHOST=, PGDATABASE=, PGUSER=.",
        )
    return path


def conninfo_of(path: Path) -> str:
    """Where the database is, as such a file says.

    Raises:
        ConfigError: It cannot be read, or has a name that PostgreSQL does not know.
    """
    try:
        values = {name: value for name, value in read_variables(path).items() if value}
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path} cannot be read: {error}.", "Correct the file.") from error
    _check_names(path, values)
    if not any(name in PG_NAMES for name in values):
        raise ConfigError(
            f"{path} has none of the names that PostgreSQL knows.",
            f"Write lines such as PGHOST=db.example.org; known are {', '.join(PG_NAMES)}.",
        )
    return as_conninfo(values)


def _check_names(path: Path, values: Mapping[str, str]) -> None:
    """Refuse what looks like a misspelt name: without it libpq would go to another server."""
    for name in values:
        near = get_close_matches(name, PG_NAMES, n=1, cutoff=0.8)
        if name not in PG_NAMES and near:
            raise ConfigError(f"{path} has the unknown name {name}.", f"Did you mean {near[0]}?")


def as_conninfo(values: Mapping[str, str]) -> str:
    """The PG* names as one connection string, quoted as libpq wants it."""
    parts: list[str] = []
    for name, word in PG_NAMES.items():
        if value := values.get(name):
            quoted = value.replace("\\", "\\\\").replace("'", "\\'")
            parts.append(f"{word}='{quoted}'")
    return " ".join(parts)
