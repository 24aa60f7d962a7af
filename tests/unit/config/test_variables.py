"""`${NAME}` in a settings file."""

import pytest

from dama.config.config import load_config
from dama.config.variables import MissingVariableError, filled


def config_of(tmp_path, text, **environ):
    (tmp_path / "dama.toml").write_text(text)
    return load_config(cwd=tmp_path, environ={"HOME": str(tmp_path), **environ})


def test_a_variable_is_what_the_environment_has(tmp_path):
    """A password need not be in the file."""
    text = 'database_url = "postgresql://etl:${WORD_OF_ETL}@db/${NAME:-etl}"'
    config = config_of(tmp_path, text, WORD_OF_ETL="s$cret")
    assert config.database.conninfo == "postgresql://etl:s$cret@db/etl"


def test_it_may_be_in_any_text_but_those_of_programs(tmp_path):
    text = (
        'services = ["etl.${AREA}"]\n[keep]\nlogs = "${DAYS:-30}d"\n'
        '[programs."a.b"]\ncommand = ["echo", "${HOME}"]\n'
    )
    config = config_of(tmp_path, text, AREA="flights")
    assert config.services == ("etl.flights",)
    assert config.keep == {"logs": "30d"}
    assert config.programs["a.b"] == {"command": ["echo", "${HOME}"]}


def test_a_missing_variable_is_named_with_its_place(tmp_path):
    with pytest.raises(MissingVariableError, match=r"dama\.toml: gateway\.token names.*TOKEN") as e:
        config_of(tmp_path, '[gateway]\ntoken = "${TOKEN}"\n')
    assert "${TOKEN:-TEXT}" in str(e.value.hint)


SEVERAL = """
database_url = "postgresql://${PROJECT_HOST}/etl"
[broker]
transporter = "nats://${PROJECT_BUS}"
[environments]
one = "postgresql://${ONE_HOST}/etl"
two = {database_url = "postgresql://two/etl", broker = {transporter = "nats://${TWO_BUS}"}}
"""


@pytest.mark.parametrize("empty", [{}, {"ONE_HOST": "", "TWO_BUS": ""}])
@pytest.mark.parametrize(
    ("name", "place", "variable"),
    [
        ("one", "environments.one.database_url", "ONE_HOST"),
        ("two", "environments.two.broker.transporter", "TWO_BUS"),
    ],
)
def test_a_missing_variable_of_an_environment_is_named_with_its_table(
    tmp_path, name, place, variable, empty
):
    """Not as one of the project's settings, whose database_url may be somewhere else."""
    (tmp_path / "dama.toml").write_text(SEVERAL)
    environ = {"HOME": str(tmp_path), "PROJECT_HOST": "db", "PROJECT_BUS": "bus", **empty}

    with pytest.raises(MissingVariableError) as error:
        load_config(cwd=tmp_path, environ=environ, pg_env=name)

    assert f"dama.toml: {place} names the variable {variable}," in str(error.value)


def test_variables_of_what_an_environment_replaces_need_not_be_set(tmp_path):
    """The database and the bus of the project are not those of this environment."""
    (tmp_path / "dama.toml").write_text(SEVERAL)

    config = load_config(
        cwd=tmp_path, environ={"HOME": str(tmp_path), "TWO_BUS": "bus"}, pg_env="two"
    )

    assert config.database.conninfo == "postgresql://two/etl"
    assert config.broker["transporter"] == "nats://bus"


def test_a_missing_variable_of_the_project_is_named_with_its_own_table(tmp_path):
    """An environment that has a database of its own and no bus uses the bus of the project."""
    (tmp_path / "dama.toml").write_text(SEVERAL)
    environ = {"HOME": str(tmp_path), "ONE_HOST": "db"}

    with pytest.raises(MissingVariableError, match=r"dama\.toml: broker\.transporter names"):
        load_config(cwd=tmp_path, environ=environ, pg_env="one")


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("$${A}", "${A}"),
        ("$A", "$A"),
        ("${A}${A}", "11"),
        ("${EMPTY:-x}", "x"),
        ("${EMPTY:-}", ""),
        ("${}", "${}"),
        ("${A B}", "${A B}"),
        ("cost: 5$", "cost: 5$"),
    ],
)
def test_only_what_is_meant_is_a_variable(text, value):
    assert filled({"a": [text, 1, True]}, {"A": "1", "EMPTY": ""}, "f")["a"] == [value, 1, True]
