"""Configuration: which place wins, and what is refused."""

from pathlib import Path

import pytest

from dama.config.config import ConfigError, EmbeddedDatabase, ExternalDatabase, load_config
from dama.errors import UsageError


@pytest.fixture
def project(tmp_path):
    """A project with a settings file, two environments and a folder below."""
    (tmp_path / "dama.toml").write_text(
        'services = ["etl.flights"]\ndatabase_url = "postgresql://file/"\n'
    )
    (tmp_path / "config").mkdir()
    (tmp_path / "config/postgres.lab.env").write_text(
        "PGHOST=lab.example.org\nPGDATABASE=etl\nPGPASSWORD=it's\n"
    )
    (tmp_path / "below").mkdir()
    return tmp_path


def test_without_any_setting_the_database_is_the_embedded_one(tmp_path):
    """A newcomer configures nothing."""
    config = load_config(cwd=tmp_path, environ={"HOME": "/h"})

    assert config.database == EmbeddedDatabase()
    assert str(config.home) == "/h/.local/state/dama"


def test_the_file_is_found_from_a_folder_below(project):
    """As git finds its own."""
    config = load_config(cwd=project / "below", environ={"HOME": "/h"})

    assert config.project == project
    assert config.services == ("etl.flights",)
    assert config.database == ExternalDatabase("postgresql://file/", "dama.toml")


def test_flags_win_over_the_environment_and_that_over_the_file(project):
    """PG* variables count when they name a host, a service or a database."""
    environ = {"HOME": "/h", "PGUSER": "me"}
    assert load_config(cwd=project, environ=environ).database.source == "dama.toml"

    environ |= {"PGHOST": "pg"}
    assert load_config(cwd=project, environ=environ).database.conninfo == "host='pg' user='me'"

    environ |= {"DAMA_DATABASE_URL": "postgresql://env/"}
    assert load_config(cwd=project, environ=environ).database.source == "DAMA_DATABASE_URL"

    database = load_config(cwd=project, environ=environ, pg_env="lab").database
    assert database.conninfo == r"host='lab.example.org' dbname='etl' password='it\'s'"


def test_the_home_follows_its_variables(tmp_path):
    """DAMA_HOME, then XDG_STATE_HOME."""
    environ = {"HOME": "/h", "XDG_STATE_HOME": "/state"}
    assert str(load_config(cwd=tmp_path, environ=environ).home) == "/state/dama"

    environ |= {"DAMA_HOME": "/own"}
    assert str(load_config(cwd=tmp_path, environ=environ).home) == "/own"


def test_an_environment_that_is_not_there_names_those_that_are(project):
    """A misspelt name is the usual reason."""
    with pytest.raises(ConfigError, match=r"postgres\.lba\.env") as caught:
        load_config(cwd=project, environ={"HOME": "/h"}, pg_env="lba")

    assert "lab" in caught.value.hint


def test_names_of_environments_may_have_dots(project):
    """As versions and hosts do."""
    (project / "config/postgres.lab.v2.env").write_text("PGHOST=two\n")

    database = load_config(cwd=project, environ={"HOME": "/h"}, pg_env="lab.v2").database
    assert database == ExternalDatabase("host='two'", "config/postgres.lab.v2.env")

    with pytest.raises(ConfigError) as caught:
        load_config(cwd=project, environ={"HOME": "/h"}, pg_env="")
    assert "lab, lab.v2" in caught.value.hint


def test_a_misspelt_name_in_an_environment_is_refused(project):
    """Without its host libpq would go to another server."""
    (project / "config/postgres.lab.env").write_text("PGHSOT=lab\nPGDATABASE=etl\n")

    with pytest.raises(ConfigError, match="PGHSOT") as caught:
        load_config(cwd=project, environ={"HOME": "/h"}, pg_env="lab")

    assert "PGHOST" in caught.value.hint


def test_other_names_in_an_environment_are_passed_over(project):
    """The file serves other programs as well."""
    (project / "config/postgres.lab.env").write_text(
        "# comment\nexport PGHOST='lab'\nPGTZ=UTC\nAPP_ENV=lab\nPGSSLROOTCERT=ca.pem\n"
    )

    database = load_config(cwd=project, environ={"HOME": "/h"}, pg_env="lab").database

    assert database.conninfo == "host='lab' sslrootcert='ca.pem'"


def test_an_unknown_setting_names_the_nearest(tmp_path):
    """A misspelt one would else be passed over in silence."""
    (tmp_path / "dama.toml").write_text("servces = []\n")

    with pytest.raises(ConfigError) as caught:
        load_config(cwd=tmp_path, environ={"HOME": "/h"})

    assert caught.value.hint == "Did you mean 'services'?"


def test_a_home_is_absolute_whoever_names_it(tmp_path, monkeypatch):
    """The server has another current folder than who starts it."""
    monkeypatch.chdir(tmp_path)

    assert load_config(environ={"DAMA_HOME": "h"}).home == tmp_path / "h"
    assert load_config(environ={}, home=Path("h")).home == tmp_path / "h"
    environ = {"HOME": "/h", "XDG_STATE_HOME": "relative"}
    assert str(load_config(environ=environ).home) == "/h/.local/state/dama"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("servces = []", "'servces'"),
        ("services = 1", "list of modules"),
        ("database_url = 1", "must be a string"),
        ("programs = 1", "must be a table"),
        ("x = [", "cannot be"),
    ],
)
def test_a_wrong_file_is_refused(tmp_path, text, words):
    """With the file and what to do."""
    (tmp_path / "dama.toml").write_text(text)

    with pytest.raises(ConfigError, match=words):
        load_config(cwd=tmp_path, environ={"HOME": "/h"})


def test_the_settings_may_be_in_pyproject(tmp_path):
    """Under [tool.dama]; another project's file is passed over."""
    (tmp_path / "pyproject.toml").write_text('[tool.dama]\nservices = ["a"]\n')

    assert load_config(cwd=tmp_path, environ={"HOME": "/h"}).services == ("a",)


def test_messages_name_the_file_that_was_read(tmp_path):
    """There are two that it could be."""
    (tmp_path / "pyproject.toml").write_text('[tool.dama]\ndatabase_url = "postgresql://p/"\n')

    database = load_config(cwd=tmp_path, environ={"HOME": "/h"}).database

    assert database == ExternalDatabase("postgresql://p/", "pyproject.toml")


@pytest.mark.parametrize("name", ["dama.toml", "config/postgres.lab.env"])
def test_a_mark_that_editors_put_before_a_text_is_no_part_of_it(project, name):
    (project / name).write_bytes(b"\xef\xbb\xbf" + (project / name).read_bytes())
    config = load_config(cwd=project, environ={"HOME": "/h"}, pg_env="lab")
    assert config.services == ("etl.flights",)
    assert config.database.conninfo.startswith("host='lab.example.org'")


def test_a_current_folder_that_was_deleted_is_said(tmp_path, monkeypatch):
    folder = tmp_path / "gone"
    folder.mkdir()
    monkeypatch.chdir(folder)
    folder.rmdir()
    with pytest.raises(ConfigError, match="does not exist any more"):
        load_config(environ={"DAMA_HOME": "/srv/dama"})


ENVIRONMENTS = """
[environments]
one = "postgresql:///one"
two = "${TWO}"
old = {}
own = { database_url = "postgresql:///own", broker = { namespace = "apart" } }
[broker]
namespace = "etl"
"""
TWO = {"TWO": "postgresql:///two"}
CHOSEN = {
    "the first": ({}, TWO, ("postgresql:///one", "one", "etl-one", 4)),
    "by a variable of the file": (
        {"pg_env": "two"}, TWO, ("postgresql:///two", "two", "etl-two", 0),
    ),
    "by its env file": ({"pg_env": "old"}, TWO, ("dbname='old'", "old", "etl-old", 0)),
    "one with a bus of its own": (
        {"pg_env": "own"}, {}, ("postgresql:///own", "own", "apart", 0),
    ),
    "a file that is not listed": (
        {"pg_env": "file"}, {}, ("dbname='file'", "file", "etl", 0),
    ),
    "none where a variable says which": (
        {}, {"DAMA_DATABASE_URL": "postgresql:///x"}, ("postgresql:///x", None, "etl", 0),
    ),
    "a namespace by a variable": (
        {}, {**TWO, "DAMA_NAMESPACE": "bus"}, ("postgresql:///one", "one", "bus-one", 4),
    ),
}  # fmt: skip


@pytest.mark.parametrize(("asked", "environ", "expected"), CHOSEN.values(), ids=CHOSEN)
def test_an_environment_has_its_database_and_its_bus(tmp_path, asked, environ, expected):
    """A variable that another environment needs is not asked for."""
    (tmp_path / "dama.toml").write_text(ENVIRONMENTS)
    (tmp_path / "config").mkdir()
    for name in ("old", "file"):
        (tmp_path / f"config/postgres.{name}.env").write_text(f"PGDATABASE={name}\n")

    config = load_config(cwd=tmp_path, environ=environ, **asked)

    namespace = config.broker["namespace"]
    found = (config.database.conninfo, config.environment, namespace, len(config.environments))
    assert found == expected


WRONG_ENVIRONMENTS = {
    'api = "postgresql:///x"': "no environment can have the name 'api'",
    '"a/b" = "postgresql:///x"': "no environment can have the name 'a/b'",
    "one = 3": "must be a string or a table",
    'one = { services = ["x"] }': "has the setting 'services'",
}


@pytest.mark.parametrize(("line", "said"), WRONG_ENVIRONMENTS.items())
def test_what_is_no_environment_is_said(tmp_path, line, said):
    (tmp_path / "dama.toml").write_text(f"[environments]\n{line}\n")
    with pytest.raises(UsageError, match=said):
        load_config(cwd=tmp_path, environ={})
