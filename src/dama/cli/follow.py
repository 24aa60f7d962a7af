"""Following: what `dama run` and `dama resume` have in common once the context is there.

The run happens in this process, for the tree of this context only. It is followed by its events,
as it would be from anywhere else.
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any

from dama.cli.board import Board
from dama.cli.log_level import level_number
from dama.cli.output import duration, json_text, print_json, print_next, print_table, shortened
from dama.cli.report import INTERRUPTED, print_error
from dama.cli.terminal import echo
from dama.counts import number_of

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping
    from pathlib import Path

    from dama.app import App
    from dama.cli.lines import Lines, Silent
    from dama.cli.live import LiveBoard
    from dama.cli.session import Session
    from dama.operations.tasks import Queued
    from dama.store import Outcome

EXIT_CODES = {"DONE": 0, "ERROR": 1, "CANCELLED": 5}
RESULT_LINES = 20


def run_here(
    session: Session,
    task: str,
    params: Mapping[str, object],
    *,
    start_options: Mapping[str, Any],
    as_json: bool,
    here: bool = False,
    quiet: bool = False,
    page: bool = False,
    log_level: str | None = None,
) -> int:
    """Start a task, work on it in this process, and follow it to its end."""
    from dama.operations import tasks

    async def started(app: App) -> int:
        return await tasks.start(app, task, params, undeclared=True, **start_options)

    return followed(
        session,
        started,
        as_json=as_json,
        here=here,
        quiet=quiet,
        page=page,
        log_level=log_level,
    )


def resume_here(
    session: Session,
    context_id: int,
    *,
    reason: str | None,
    as_json: bool,
    here: bool = False,
    quiet: bool = False,
    log_level: str | None = None,
) -> int:
    """Let a context continue, work on it in this process, and follow it to its end."""
    from dama.operations import contexts
    from dama.operations.who import person

    async def resumed(app: App) -> int:
        await contexts.resume(app, context_id, person(reason))
        return context_id

    return followed(session, resumed, as_json=as_json, here=here, quiet=quiet, log_level=log_level)


async def enqueue(
    session: Session,
    task: str,
    params: Mapping[str, object],
    *,
    start_options: Mapping[str, Any],
    as_json: bool,
) -> int:
    """Queue a task for whichever worker claims it."""
    from dama.operations import tasks

    async with session.app(with_services=True) as app:
        context_id = await tasks.start(app, task, params, undeclared=True, **start_options)
        queued = await tasks.queued(app, context_id)
    return _report_queued(queued, task, as_json=as_json)


async def resume_elsewhere(
    session: Session, context_id: int, *, reason: str | None, as_json: bool
) -> int:
    """Let a context continue, on whichever worker claims it."""
    from dama.operations import contexts, tasks
    from dama.operations.who import person

    async with session.app(with_services=True) as app:
        await contexts.resume(app, context_id, person(reason))
        queued = await tasks.queued(app, context_id)
    return _report_queued(queued, as_json=as_json)


def _report_queued(queued: Queued, task: str = "", *, as_json: bool) -> int:
    if as_json:
        print_json(queued)
        return 0
    context_id = queued.context_id
    echo(f"Context {context_id}{task and f' of {task}'} is queued.")
    if queued.no_worker:
        echo("No live worker has this task, with its queue and labels: start a `dama worker`.")
    print_next(
        (f"dama events {context_id} -f", "follow it"), ("dama workers", "who may execute it")
    )
    return 0


async def start_detached(
    session: Session,
    task: str,
    params: Mapping[str, object],
    *,
    start_options: Mapping[str, Any],
    as_json: bool,
    here: bool = False,
) -> int:
    """Start a task in a process of its own, which outlives this one and its terminal."""
    from dama.operations import tasks

    async with session.app(with_services=True) as app:
        context_id = await tasks.start(app, task, params, undeclared=True, **start_options)
    log = _run_in_background(session, context_id, *(["--here"] if here else []))
    if as_json:
        print_json({"context_id": context_id, "task": task, "log": str(log)})
    else:
        echo(f"Context {context_id} of {task} runs in the background.")
        print_next(
            (f"dama events {context_id} -f", "follow it"),
            (f"less {log}", "what it printed"),
        )
    return 0


def _run_in_background(session: Session, context_id: int, *options: str) -> Path:
    from dama.config.private_file import make_private, private

    folder = session.config().home / "logs"
    make_private(folder)
    log = folder / f"{context_id}.log"
    environment = ["--pg-env", session.pg_env] if session.pg_env else []
    with open(log, "ab", opener=private) as output:
        subprocess.Popen(
            [sys.executable, "-m", "dama.cli", *environment, "resume", str(context_id), *options],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    return log


def followed(
    session: Session,
    begin: Callable[[App], Awaitable[int]],
    *,
    as_json: bool,
    quiet: bool,
    here: bool = False,
    page: bool = False,
    log_level: str | None = None,
) -> int:
    """Work on the context that `begin` gives in this process, and follow it to its end."""
    from dama.cli.page import page_of, stay
    from dama.programs.run_log import log_to_runs

    board: Board | None = None

    async def follow() -> int:
        nonlocal board
        async with session.app(with_services=True) as app, AsyncExitStack() as stack:
            root = await begin(app)
            board = Board(root)
            log_to_runs(level_number(log_level))
            if page:
                await stack.enter_async_context(page_of(session, app, root))
            outcome = await _worked(app, board, here=here, quiet=quiet)
            code = _report(board, outcome, as_json=as_json, quiet=quiet, debug=session.debug)
            if page:
                await stay(root)
            return code

    try:
        return asyncio.run(follow())
    except KeyboardInterrupt:
        if board is None:
            raise
        echo(f"\nInterrupted. What is done of context {board.root} is kept.", err=True)
        if session.outlives_worker(board.rows[board.root].task if board.rows else ""):
            echo(f"Its process continues; end it with: dama cancel {board.root}", err=True)
            echo(f"Follow it with: dama resume {board.root}", err=True)
        else:
            echo(f"Resume it with: dama resume {board.root}", err=True)
        return INTERRUPTED


async def _worked(app: App, board: Board, *, here: bool, quiet: bool) -> Outcome:
    """Work on a tree and show it, to its end."""
    from dama.cli.printed import Printed
    from dama.cli.unserved import unserved_told
    from dama.operations import contexts
    from dama.worker.offer import ALL_LABELS

    labels = [ALL_LABELS] if here else []
    async with app.working(root=board.root, labels=labels), unserved_told(app, board):
        with _display(board, quiet=quiet) as display:
            printed = Printed(app, board, display)
            async with printed.shown():
                async for event in contexts.follow(app, board.root, tree=True):
                    await printed.show_event(event)
    return await contexts.outcome(app, board.root)


def _display(board: Board, *, quiet: bool) -> LiveBoard | Lines | Silent:
    from dama.cli.lines import Lines, Silent

    if quiet:
        return Silent(board)
    if sys.stderr.isatty():
        from dama.cli.live import LiveBoard

        return LiveBoard(board)
    return Lines(board)


def _report(board: Board, outcome: Outcome, *, as_json: bool, quiet: bool, debug: bool) -> int:
    status = str(outcome.status)
    if as_json:
        print_json(outcome_document(board.root, board.rows[board.root].task, outcome))
    else:
        if not quiet:
            _print_summary(board)
        _print_outcome(board.root, status, outcome, quiet=quiet, debug=debug)
    return EXIT_CODES.get(status, 1)


def outcome_document(context_id: int, task: str, outcome: Outcome) -> dict[str, object]:
    """The outcome as JSON has it; `result` is there when there is one, null included."""
    from dama.domain.event import ABSENT

    document: dict[str, object] = {
        "context_id": context_id,
        "task": task,
        "status": str(outcome.status),
    }
    if outcome.result is not ABSENT:
        document["result"] = outcome.result
    if outcome.error is not None:
        document["error"] = outcome.error
    return document


def _print_summary(board: Board) -> None:
    """One line for the root, one for each kind of subtask."""
    groups: dict[tuple[int, str], list[Any]] = {}
    for row in board.rows.values():
        groups.setdefault((row.depth, row.task), []).append(row)
    lines: list[list[object]] = []
    for (depth, task), rows in groups.items():
        count = f" x {len(rows)}" if depth else ""
        statuses = {row.status for row in rows}
        counts = [f"{sum(r.status == s for r in rows)} {s}" for s in sorted(statuses)]
        status = statuses.pop() if len(statuses) == 1 else ", ".join(counts)
        span = max(r.until for r in rows) - min(r.since for r in rows)
        steps = sum(row.steps for row in rows)
        lines.append(["  " * depth + (task or "-") + count, status, steps, duration(span)])
    echo()
    print_table(["task", "status", "steps", "time"], lines)


def _print_outcome(root: int, status: str, outcome: Outcome, *, quiet: bool, debug: bool) -> None:
    from dama.domain.event import ABSENT

    if status == "DONE":
        following = [("show", "params, result, steps"), ("events", "all that happened")]
        if outcome.result is not ABSENT and outcome.result is not None:
            _print_result(root, outcome.result, quiet=quiet)
    else:
        following = [
            ("show", "where it stopped, and why"),
            ("resume", "continue after its last step"),
        ]
        _print_failure(root, status, outcome.error or {}, quiet=quiet, debug=debug)
    if not quiet:
        print_next(*((f"dama {verb} {root}", what) for verb, what in following))


def _print_failure(
    root: int, status: str, error: Mapping[str, Any], *, quiet: bool, debug: bool
) -> None:
    if not quiet:
        echo()
    if status == "ERROR":
        print_error(f"Context {root} failed: {error_text(error)}")
    else:
        print_error(f"Context {root} is {status.lower()}.")
    if debug and error.get("stack"):
        echo(error["stack"], err=True)


def error_text(error: Mapping[str, Any]) -> str:
    """An error payload in one piece: `BadRowsError: The departures are not fit ...`."""
    parts = (error.get("name"), error.get("message"))
    return ": ".join(str(part) for part in parts if part) or "no message"


def _print_result(root: int, result: object, *, quiet: bool) -> None:
    if quiet:  # for a script, which wants all of it
        echo(result if isinstance(result, str) else json_text(result))
        return
    if isinstance(result, str):
        echo(f"\n{result}")
        return
    lines = json_text(result).splitlines()
    echo("\n" + "\n".join(shortened(text, 200) for text in lines[:RESULT_LINES]))
    if len(lines) > RESULT_LINES:
        echo(f"... {number_of(len(lines) - RESULT_LINES, 'more line')}: dama show {root} --json")
