"""Reports: what a person reads when a command fails, and the exit code that a program reads.

0 done, 1 the task failed, 2 wrong usage, 3 database, 4 not found, 5 cancelled, 6 refused by the
store, 70 a bug, 74 no space for what is printed, 130 interrupted; 141 as a shell has it, for a
reader that went away.
"""

from __future__ import annotations

import errno
import os
import sys
import traceback
from contextlib import suppress
from typing import TextIO

import click

from dama.cli.terminal import echo, style
from dama.cli.typed import typed
from dama.domain.secrets import without_password
from dama.errors import DamaError

BUG = 70
NO_SPACE = 74  # EX_IOERR of sysexits.h
INTERRUPTED = 130
PIPE_CLOSED = 141
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def exit_code_of(
    error: BaseException, *, debug: bool, as_json: bool = False, pg_env: str | None = None
) -> int:
    """Say what went wrong on standard error, and return the exit code for it.

    What it says to type names the environment `pg_env`, where one was chosen.

    With `as_json` standard output gets it as well: `{"error": {...}}`, with the names of HTTP.
    """
    if isinstance(error, FileNotFoundError):
        error = _of_a_deleted_folder() or error
    match error:
        case click.exceptions.Exit():
            return error.exit_code
        case SystemExit():
            return error.code if isinstance(error.code, int) else int(error.code is not None)
        case BrokenPipeError():
            return _leave_the_pipe()
        case KeyboardInterrupt() | click.Abort():
            _print("\n".join(["Interrupted.", *getattr(error, "__notes__", [])]))
            return INTERRUPTED
        case _:
            if debug and not isinstance(error, click.ClickException):
                text = without_password("".join(traceback.format_exception(error)))
                _print(_beneath(f"  {text.rstrip()}"))
            if as_json:
                _print_document(error)
            return _explain(error, pg_env)


def _of_a_deleted_folder() -> DamaError | None:
    """What to say where the current folder was deleted: anything may have asked for it."""
    from dama.config.config import current_folder
    from dama.config.errors import ConfigError

    try:
        current_folder()
    except ConfigError as error:
        return error
    return None


def _print_document(error: BaseException) -> None:
    from dama.broker.errors import error_document
    from dama.cli.output import json_text

    document: dict[str, object] = (
        {
            "name": type(error).__name__,
            "message": error.format_message(),
            "code": 400,
            "type": "USAGE",
        }
        if isinstance(error, click.ClickException)
        else error_document(error)
    )
    with suppress(OSError):
        echo(without_password(json_text({"error": document}, indent=0)))


def _explain(error: BaseException, pg_env: str | None) -> int:
    match error:
        case DamaError():
            print_error(error.message, typed(error.hint or "", pg_env))
            return error.exit_code
        case click.UsageError() if type(error).__name__ == "NoArgsIsHelpError":  # new in click 8.2
            _print(error.format_message())
            return error.exit_code
        case click.UsageError():
            print_error(error.format_message(), _what_there_is(error))
            return error.exit_code
        case click.ClickException():
            print_error(error.format_message())
            return error.exit_code
        case OSError() if error.errno in FULL:
            where = repr(error.filename) if error.filename else "standard output"
            print_error(
                f"{where} has no space: {error.strerror}.",
                "What was done before is kept. Make room there, or let it go to another place.",
            )
            _drop_what_is_left()
            return NO_SPACE
        case _:
            print_error(
                f"{type(error).__name__}: {error} (this is a bug)",
                "Run it again with --debug and report what it prints.",
            )
            return BUG


def _what_there_is(error: click.UsageError) -> str:
    """Where to look; an option of one verb of a group is easily given to the group."""
    if error.ctx is None:
        return "`dama --help` shows what there is."
    path, group = error.ctx.command_path, error.ctx.command
    if (
        isinstance(error, click.NoSuchOption)
        and isinstance(group, click.Group)
        and error.ctx.parent
    ):
        for name in group.list_commands(error.ctx):
            verb = group.get_command(error.ctx, name)
            if verb and any(error.option_name in param.opts for param in verb.params):
                return f"`{path} {name}` has it: `{path} {name} --help` shows what there is."
    return f"`{path} --help` shows what there is."


def print_error(message: str, hint: str | None = None) -> None:
    """Print an error and what to do about it."""
    message = _beneath(without_password(message))
    _print(f"{style('Error:', fg='red', bold=True)} {message}")
    if hint:
        _print(f"{style('Hint:', bold=True)} {_beneath(hint)}")


def _beneath(text: str) -> str:
    """A text whose further lines are indented: data within it begins no line, such as a hint."""
    return text.replace("\n", "\n  ")


def _print(text: str) -> None:
    # Where standard error is closed too, there is nobody left to tell.
    with suppress(OSError):
        echo(text, err=True)


def _leave_the_pipe() -> int:
    """Quietly: `dama events 42 | head` is not an error. Python would complain when it flushes."""
    _to_nowhere(sys.stdout)
    return PIPE_CLOSED


def _drop_what_is_left() -> None:
    """Drop what standard output and error do not take: Python would complain at its end."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:
            _to_nowhere(stream)


def _to_nowhere(stream: TextIO) -> None:
    os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
