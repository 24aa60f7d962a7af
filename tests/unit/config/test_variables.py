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
