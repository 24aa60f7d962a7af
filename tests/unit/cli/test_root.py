"""The first page: complete, fast, and the same words as the commands' own pages."""

import re
import shlex
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


def test_what_reads_contexts_imports_no_worker_and_nothing_of_programs():
    """They are a fifth of what a command imports that only reads."""
    program = """
import sys
import dama.app, dama.operations.contexts
heavy = {"dama.worker.worker", "dama.programs.adoption", "dama.run.task", "pydantic", "statistics"}
sys.exit(", ".join(heavy & set(sys.modules)) or 0)
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )

    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_on_the_first_page_has_a_page_with_examples(name, capsys):
    assert name == "run" or main([name, "--help"]) == 0

    command = root.get_command(click.Context(root, obj=Session()), name)
    assert f"dama {name}" in (command.epilog or "")
    assert command.help


def pages(command, path):
    """Each command with its path."""
    yield path, command
    if isinstance(command, click.Group):
        context = click.Context(command, obj=Session())
        for name in command.list_commands(context):
            if command.name != "run":
                yield from pages(command.get_command(context, name), [*path, name])


def test_no_line_of_a_list_of_commands_ends_in_the_middle():
    """Of a terminal of 80 columns; the first paragraph of a command is its line."""
    cut = []
    for path, command in pages(root, ["dama"]):
        if isinstance(command, click.Group) and len(path) > 1:
            context = click.Context(command, obj=Session(), terminal_width=78)
            cut += [line for line in command.get_help(context).splitlines() if line.endswith("...")]
    assert not [line for line in cut if "Usage:" not in line and "[ARGS]" not in line]


def test_each_example_of_a_page_is_a_command_with_options_that_it_has():
    """Those of the tasks are read from the examples of the project."""
    seen = 0
    known = {" ".join(path): command for path, command in pages(root, ["dama"])}
    for page, shown in known.items():
        for line in re.sub(r"\\\n\s*", "", shown.epilog or "").splitlines():
            words = shlex.split(re.sub(r"\s{3,}.*", "", line).strip())
            if "dama" not in words:
                continue
            words = words[words.index("dama") :]
            words = words[: words.index("|")] if "|" in words else words
            count = max(n for n in range(1, 5) if " ".join(words[:n]) in known)
            command = known[" ".join(words[:count])]
            options = {w.partition("=")[0] for w in words[count:] if re.match(r"--[a-z]", w)}
            has = {name for param in command.params for name in param.opts}
            if command.name not in {"run", "unit"}:
                assert options <= has | {"--help"}, f"{line} on the page of {page}"
            tasks = {w for w in words[count:] if re.fullmatch(r"flights\.\S+", w)}
            assert tasks <= {"flights.load", "flights.load-month"}, f"{line} on the page of {page}"
            seen += 1
    assert seen > 60


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


@pytest.mark.parametrize(
    ("option", "hint"),
    [("--to", "`dama archive move` has it"), ("--bla", "`dama archive --help` shows")],
)
def test_an_option_of_a_verb_that_is_given_to_its_group_names_the_verb(option, hint, capsys):
    """`dama archive --to FOLDER` is what people type who think of one verb."""
    assert main(["archive", option, "x"]) == 2

    assert hint in capsys.readouterr().err


def test_no_command_shows_the_first_page(capsys):
    assert main([]) in {0, 2}  # 0 before click 8.2

    captured = capsys.readouterr()
    assert "Inspect runs" in captured.out + captured.err


def test_examples_are_not_filled_into_a_paragraph():
    assert examples("dama ls", "dama show 42") == "\b\nExamples:\n  dama ls\n  dama show 42"
