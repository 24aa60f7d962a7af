"""The first page: complete, fast, and the same words as the commands' own pages."""

import subprocess
import sys

import click
import pytest

from dama.cli import main
from dama.cli.group import examples
from dama.cli.root import SECTIONS, root
from dama.cli.session import Session

COMMANDS = [name for entries in SECTIONS.values() for name in entries]


def test_the_first_page_imports_nothing_heavy():
    """psycopg, pydantic and rich cost more than everything else together."""
    program = """
import sys
from dama.cli import main
code = main(["--help"])
heavy = {"psycopg", "pydantic", "rich", "msgspec", "asyncio"} & set(sys.modules)
sys.exit(", ".join(heavy) or code)
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )

    assert done.returncode == 0, done.stderr
    for heading in SECTIONS:
        assert heading in done.stdout


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_on_the_first_page_has_a_page_with_examples(name, capsys):
    assert name == "run" or main([name, "--help"]) == 0

    command = root.get_command(click.Context(root, obj=Session()), name)
    assert f"dama {name}" in (command.epilog or "")
    assert command.help


@pytest.mark.parametrize(
    "argv",
    [
        ["--pg-env", "test", "--debug", "db", "migrate", "status"],
        ["db", "--pg-env", "test", "migrate", "--debug", "status"],
        ["db", "migrate", "status", "--debug", "--pg-env", "test"],
    ],
)
def test_shared_options_stand_before_or_after_the_verb(argv, monkeypatch):
    seen = []
    migrate = root.get_command(click.Context(root), "db").commands["migrate"]
    monkeypatch.setattr(
        migrate.commands["status"],
        "callback",
        lambda **_: seen.append(click.get_current_context().obj),
    )

    assert main(argv) == 0
    assert [(s.pg_env, s.debug) for s in seen] == [("test", True)]


def test_an_unknown_command_names_the_nearest(capsys):
    assert main(["evnts", "42"]) == 2

    assert "There is no command 'evnts'. Did you mean events?" in capsys.readouterr().err


def test_no_command_shows_the_first_page(capsys):
    assert main([]) in {0, 2}  # 0 before click 8.2

    captured = capsys.readouterr()
    assert "Look at what ran" in captured.out + captured.err


def test_examples_are_not_filled_into_a_paragraph():
    assert examples("dama ls", "dama show 42") == "\b\nExamples:\n  dama ls\n  dama show 42"
