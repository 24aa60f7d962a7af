"""The command line: parse, call, print. One file per verb; the entry points are here.

`dama --help` imports click and nothing heavier: commands are loaded when they are named
(`group.py`), and each imports what it needs inside. All that may go wrong ends in `report.py`,
which knows the exit codes. What commands say to the rest of the program goes through `session.py`.
"""

from __future__ import annotations

import sys

TYPE_CHECKING = False  # as in typing, which takes longer to import than all of this
if TYPE_CHECKING:
    from collections.abc import Sequence

    import click

    from dama.definitions.service import Service


def main(argv: Sequence[str] | None = None) -> int:
    """Run `dama` with these arguments (by default the process's); return the exit code."""
    import os

    from dama.cli.tell import is_telling, tell

    arguments = sys.argv[1:] if argv is None else argv
    if is_telling(arguments, os.environ):
        return tell(arguments[1:], os.environ["DAMA_EVENTS"])
    from dama.cli.root import root

    return _invoke(root, "dama", argv)


def service_main(service: Service, argv: Sequence[str] | None = None) -> int:
    """Run a module as the command line of its one service; return the exit code."""
    from dama.cli.commands.run import service_group
    from dama.cli.session import started_as

    return _invoke(service_group(service), started_as(), argv, service)


def _invoke(group: click.Group, prog: str, argv: Sequence[str] | None, *services: Service) -> int:
    import os

    import click

    from dama.cli import report
    from dama.cli.session import Session
    from dama.cli.terminal import HelpFormatter

    _take_signals()
    _open_closed()
    click.Context.formatter_class = HelpFormatter
    arguments = list(sys.argv[1:] if argv is None else argv)
    if f"_{prog.upper()}_COMPLETE" in os.environ:  # click answers the shell, and exits
        group.main(args=arguments, prog_name=prog, obj=Session(services=services))
    # An error may come before these are parsed, when the services are loaded for example.
    own = arguments[: arguments.index("--")] if "--" in arguments else arguments
    debug, as_json = "--debug" in own, "--json" in own
    session = Session(services=services)
    try:
        # Not group.main(): it has its own ideas about interrupts and closed pipes.
        with group.make_context(prog, arguments, obj=session) as context:
            code = group.invoke(context)
        sys.stdout.flush()
    except BaseException as error:  # noqa: BLE001 - the last place that can say anything
        return report.exit_code_of(error, debug=debug, as_json=as_json, pg_env=session.pg_env)
    return code if isinstance(code, int) else 0


def _take_signals() -> None:
    """Undo what the starter blocked, or ignored of children: both are inherited.

    Nobody could tell a worker to stop, and each program that a task starts would end with code 0.
    """
    import signal
    from contextlib import suppress

    with suppress(ValueError):  # this is not the main thread of the process
        if signal.getsignal(signal.SIGCHLD) is signal.SIG_IGN:
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, signal.valid_signals())


def _open_closed() -> None:
    """Let what the starter has closed of the three lead nowhere; else a socket takes its number."""
    import os

    for number, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is not None:
            continue
        nowhere = os.open(os.devnull, os.O_RDWR)
        os.set_inheritable(nowhere, nowhere == number)  # unless something else has the number now
        setattr(sys, name, os.fdopen(nowhere, "w" if number else "r"))
