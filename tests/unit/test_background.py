"""All that runs beside something else, and who looks after each: a new one needs a line here."""

import ast
from collections.abc import Iterator
from pathlib import Path

import dama

SOURCE = Path(dama.__file__).parent
STARTS = {"create_task", "ensure_future", "Thread", "ThreadPoolExecutor", "ProcessPoolExecutor",
          "Timer", "start_new_thread"}  # fmt: skip
# Who starts something, and what comes of it when it dies. The rest is "duty": see `dama.duty`.
KNOWN = {
    "run/execution.Execution.abandon": "its run waits for it; one that dies is said by asyncio",
    "duty.on_duty": "the duties themselves",
    "broker/wire/discovery.Discovery.begin": "duties of the node",
    "worker/lease.LeaseKeeper.__init__": "the duty of the lease fails as its renewals do",
    # Somebody waits for it, and gets its error.
    "beside._threads": "awaited",
    "broker/mcall.call_all": "awaited",
    "cli/commands/worker._first": "awaited",
    "cli/commands/worker.work_until_told": "awaited beside the signals, and ended with them",
    "cli/environments.Serving.serve": "awaited beside the duties, which look after themselves",
    "cli/unserved.unserved_told": "for a line on the terminal, while a run is followed",
    "cli/printed.Printed.shown": "awaited at the end of its block",
    "gateway/calls._until_gone": "awaited",
    "gateway/streams._lines": "awaited",
    "gateway/streamed.Streamed.__call__": "awaited",
    "programs/own_process._opened": "a pool; each call is awaited",
    "run/group_commit.GroupCommit._set_aside": "as submit",
    "run/group_commit.GroupCommit.submit": "all who wait for it get its error, and the next starts",
    "operations/ends.Ends.wait": "all who wait for it get its error, and the next starts another",
    "store/lending.Lending._aside": "awaited; what nobody awaits any more is given back",
    "run/completing.completing": "awaited, also by who is cancelled meanwhile",
    "run/completing.kept": "awaited, also by who is cancelled meanwhile",
    "run/completing.note_if_recorded": "awaited; what comes after it meets the error",
    "store/head.Head.next_poll": "all who wait for it get its error, and the next starts another",
    "store/migrating.blockers_told": "for a line on the terminal, while a migration waits",
    "run/checking.Check.__init__": "a pool; each call is awaited",
    "worker/executions.Executions.__init__": "a pool; each call is awaited",
    # A run: its performance is guarded, and what is held and not executed is handed back.
    "worker/holding.Holding.begin": "guarded by Performance.run",
    # Hints and notes: the truth is found by looking.
    "programs/own_process.Flag.count": "a hint; who waits looks, too",
    "store/hints.Hints.send": "a hint; who needs it looks, too",
    "worker/worker.Worker._note": "for doctor; the log has it",
    "worker/membership.Membership.register_again": "the next renewal starts it again",
    "run/threads.Threads.tell": "it ends with the call that it interrupts",
    # An end of it is the end of its process.
    "programs/own_process._beside_loop": "a loop whose tasks are contained",
    "client/loop.LoopThread.__init__": "a loop for calls that are awaited",
    # Short pieces of work of a node; one that dies is logged.
    "broker/background.Background.spawn": "logged",
    "broker/broker.Broker.spawn": "logged",
    "broker/broker.Broker._changed": "logged",
    "broker/hosting.Hosting.start_all": "awaited",
    "broker/hosting.Hosting.start_as_they_can": "logged; the service is not offered",
    "broker/wire/discovery.Discovery._send": "logged",
    "broker/wire/exchange.Exchange.on_event": "logged",
    "broker/wire/exchange.Exchange.on_request": "logged, and the caller is told",
    "broker/wire/exchange.Exchange._send_request": "logged, and the stream is broken",
    "broker/wire/exchange.Exchange.refuse": "logged",
    "broker/wire/transit.Transit._disconnected": "logged",
    "broker/wire/transit.Transit._drop": "logged",
    "broker/wire/transit.Transit._is_for_a_twin": "logged",
    "broker/wire/transit.Transit._rejoin": "logged; calls without a timeout may wait longer",
    "broker/wire/transit.Transit._reconnected": "logged; the next connection does it again",
}


def starts(path: Path) -> Iterator[str]:
    """Where a module starts something."""
    where = path.relative_to(SOURCE).with_suffix("").as_posix()

    def within(node: ast.AST, names: list[str]) -> Iterator[str]:
        for child in ast.iter_child_nodes(node):
            kinds = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
            inner = [*names, child.name] if isinstance(child, kinds) and len(names) < 2 else names
            if isinstance(child, ast.Call):
                called = child.func
                name = getattr(called, "attr", getattr(called, "id", ""))
                if name in STARTS or (name == "spawn" and where.startswith("broker/")):
                    yield f"{where}.{'.'.join(names)}"
            yield from within(child, inner)

    yield from within(ast.parse(path.read_text()), [])


def test_whatever_runs_beside_something_is_looked_after() -> None:
    """A part that died without a word looks alive from outside for as long as its process."""
    found = {each for path in SOURCE.rglob("*.py") for each in starts(path)}
    assert sorted(found - set(KNOWN)) == [], "say in KNOWN what becomes of it when it dies"
