"""Protected environments: no command changes one by a slip of the keyboard."""

import click
import pytest

from dama.cli import main
from dama.cli.protection import ACTS
from dama.cli.root import root
from dama.cli.session import Session
from dama.config.config import ConfigError, load_config

# They look, act on this machine only, or are what an environment is for.
OTHERS = frozenset((
    "run", "up", "worker", "gateway", "perform", "unit", "services", "call", "emit-event",
    "actions", "nodes", "repl", "check", "whatif", "import", "open", "ls", "show", "diff", "tree",
    "timeline", "logs", "events", "workers", "activity", "state", "doctor", "clean", "export",
    "lineage", "openlineage", "queue ls", "queue why", "queue history", "schedule ls",
    "schedule show", "archive ls", "token ls", "log status", "log acts", "slice ls", "db start",
    "db stop", "db status", "db psql", "db url", "db grants", "db migrate status", "pilot slurm",
    "pilot kubernetes",
))  # fmt: skip
PROJECT = """
protected = ["production"]

[profiles.production]
database_url = "postgresql://nowhere.invalid/etl"

[profiles.test]
database_url = "postgresql://nowhere.invalid/etl"

[profiles.own]
protected = true
"""


def paths(command: click.Command, path: str) -> list[str]:
    """All commands below one."""
    if not isinstance(command, click.Group) or path == "run":
        return [path]
    context = click.Context(command, obj=Session())
    below = [(name, command.get_command(context, name)) for name in command.list_commands(context)]
    own = [path] if command.invoke_without_command else []
    named = [(f"{path} {name}".strip(), found) for name, found in below if found]
    return own + [each for name, found in named for each in paths(found, name)]


def test_each_command_acts_or_does_not():
    """A new one needs a line here, or asks."""
    names = set(paths(root, ""))

    assert names >= ACTS
    assert names - ACTS == OTHERS


@pytest.fixture
def project(tmp_path, monkeypatch):
    (tmp_path / "dama.toml").write_text(PROJECT)
    for name in ("DAMA_DATABASE_URL", "DAMA_PROFILE", "PGHOST", "PGDATABASE", "PGSERVICE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("DAMA_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("command", "is_asked"),
    [
        ("cancel 1 --profile production", True),
        ("--profile production queue pause etl", True),
        ("fork 1 --at 2 --profile production", True),
        ("queue pause etl --profile production --yes", False),
        ("archive forget --older-than 1d --profile production", True),
        ("archive forget --older-than 1d --yes --profile production", False),
        ("cancel 1 --profile test", False),
        ("show 1 --profile production", False),
        ("db migrate --profile production", True),
        ("db migrate status --profile production", False),
        ("archive add --older-than 1d --dry-run --profile production", False),
    ],
)
def test_what_changes_a_protected_environment_asks(project, monkeypatch, capsys, command, is_asked):
    """The database of neither is there: who does not ask says that."""
    monkeypatch.setattr("sys.stdin.isatty", lambda: False, raising=False)

    code = main(command.split())

    said = capsys.readouterr().err
    assert code != 0
    assert ("The environment production is protected" in said) is is_asked, said
    assert ("--yes" in said) is is_asked, said


def test_an_environment_is_protected_by_its_name_or_by_its_profile(project):
    (project / "config").mkdir()
    for name in ("production", "other"):
        (project / "config" / f"postgres.{name}.env").write_text("PGHOST=nowhere.invalid\n")

    def protected(**chosen):
        found = load_config(cwd=project, environ={}, **chosen)
        return found.environment, found.is_protected

    assert protected() == (None, False)
    assert protected(profile="production") == ("production", True)
    assert protected(profile="test") == ("test", False)
    assert protected(profile="own") == ("own", True)
    assert protected(pg_env="production") == ("production", True)
    assert protected(pg_env="other", profile="production") == ("other", True)
    (project / "dama.toml").write_text('protected = "yes"\n')
    with pytest.raises(ConfigError, match="protected"):
        protected()
