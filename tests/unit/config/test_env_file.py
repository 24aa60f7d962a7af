"""Files of variables: what is read, and that no line is passed over."""

import pytest

from dama.config.config import ConfigError, load_config
from dama.config.env_file import read_variables
from dama.definitions.errors import ProgramEnvironmentError
from dama.definitions.program import ProgramSpec

WRONG = {
    "A=1\nB C=2\n": 2,
    "=5\n": 1,
    "A=1\n\n\nF='open\nG=2\n": 4,
    'H="a"b\n': 1,
    "A=1\nPASSWORD: hunter2\n": 2,
    "A=1\nFOO\n": 2,
    "export A\n": 1,
}


def test_usual_lines_are_read(tmp_path):
    """Comments, blank lines, export, quotes and empty values are no mistakes."""
    path = tmp_path / "a.env"
    path.write_text("# c\n\nexport A=1\nB='x y'\nC=\nD=\"a\\nb\"\nE=a b # c\n")

    assert read_variables(path) == {"A": "1", "B": "x y", "C": "", "D": "a\nb", "E": "a b"}


@pytest.mark.parametrize(("text", "line"), WRONG.items())
def test_a_line_that_is_no_variable_is_refused_by_its_number(tmp_path, text, line):
    """Passed over, the program would start without it; shown, it could be a secret."""
    path = tmp_path / "a.env"
    path.write_text(text)

    with pytest.raises(ValueError, match=f"line {line} is ") as caught:
        read_variables(path)

    assert "hunter2" not in str(caught.value)


def test_a_program_does_not_start_without_a_line_of_its_file(tmp_path):
    """The error says which file and which line."""
    (tmp_path / "a.env").write_text("A=1\nB C=2\n")
    program = ProgramSpec(command=("x",), env_files=(str(tmp_path / "a.env"),))

    with pytest.raises(ProgramEnvironmentError, match=r"a\.env cannot be read: line 2"):
        program.environment({})


def test_the_environment_of_a_project_is_read_whole(tmp_path):
    """A password that is not read would be a connection to another server, or none."""
    (tmp_path / "config").mkdir()
    (tmp_path / "config/postgres.lab.env").write_text("PGHOST=db\nPGPASSWORD hunter2\n")

    with pytest.raises(ConfigError, match="line 2"):
        load_config(cwd=tmp_path, environ={"HOME": "/h"}, pg_env="lab")
