"""Diffs: two moments of a context, two attempts, two contexts."""

from __future__ import annotations

import pytest

from dama import Service, Slice, Task
from dama.app import App
from dama.definitions.registry import Registry
from dama.domain.errors import ReducerError
from dama.operations import bundles, contexts, diffs, forks, tasks
from dama.operations.diffs import Side, UnknownAttemptError
from dama.store.errors import UnknownContextError, UnknownEventError

days = Service("days")
seen = Slice("days_seen", initial=())
failing: set[int] = set()


@seen.reducer
def row_seen(state: tuple[int, ...], row: int) -> tuple[int, ...]:
    """Keep it."""
    return (*state, row)


def fetch(n: int) -> list[int]:
    return [*range(n)]


def check(n: int) -> str:
    if n in failing:
        failing.discard(n)
        raise ValueError("not yet")
    return f"checked {n}"


@days.task(retries=1, backoff=0.01)
async def load(task: Task, n: int = 2) -> int:
    """Fetch, tell each row, check."""
    rows = await task.step("fetch", fetch, n)
    for row in rows:
        await task.dispatch(row_seen(row))
    await task.step("check", check, n)
    return len(rows)


@pytest.fixture
async def app(store, tmp_path):
    return App(store, Registry([days]), tmp_path)


async def ended(app, **params):
    """A load that is done."""
    context_id = await tasks.start(app, load, params)
    async with app.working(root=context_id):
        async for _ in contexts.follow(app, context_id):
            pass
    assert (await contexts.outcome(app, context_id)).status == "DONE"
    return context_id


def told(changes):
    return {change["path"]: (change.get("before"), change.get("after")) for change in changes}


async def test_two_contexts_differ_in_what_they_were_given_and_did(app):
    """Params, results of steps, what it returned, and the states of slices."""
    one, other = await ended(app, n=2), await ended(app, n=3)
    found = await diffs.diff(app, Side(one), Side(other), names=["days_seen"])
    assert told(found.changes) == {
        "/params/n": (2, 3),
        "/steps/fetch/2": (None, 2),
        "/steps/check": ("checked 2", "checked 3"),
        "/result": (2, 3),
    }
    assert told(found.states["days_seen"]) == {"/2": (None, 2)}
    assert found.is_whole
    assert {timing.step for timing in found.timings} == {"", "fetch", "check"}


async def test_a_context_does_not_differ_from_one_that_did_the_same(app):
    """Whatever the times and the ids were."""
    one, other = await ended(app), await ended(app)
    # Of the slices one: in this process are those of all tests.
    found = await diffs.diff(app, Side(one), Side(other), names=["days_seen"])
    assert (found.changes, found.states) == ([], {})


async def test_two_moments_differ_in_what_happened_between_them(app):
    """What was there before is no difference."""
    context_id = await ended(app)
    events = (await contexts.events(app, context_id)).events
    first = next(e for e in events if e.type.endswith("/fetch:DONE"))
    last = next(e for e in events if e.type.endswith("/check:DONE"))
    one, other = Side(context_id, first.event_id), Side(context_id, last.event_id)
    found = await diffs.diff(app, one, other, names=["days_seen"])
    assert told(found.changes) == {
        "/steps/check": (None, "checked 2"),
        "/functions/check": (None, "tests.integration.test_diffs:check"),
    }
    assert told(found.states["days_seen"]) == {"/0": (None, 0), "/1": (None, 1)}


async def test_two_attempts_differ_in_what_each_did(app):
    """The second one did the step that the first failed with."""
    failing.add(4)
    context_id = await ended(app, n=4)
    one, other = Side(context_id, attempt=1), Side(context_id, attempt=2)
    found = told((await diffs.diff(app, one, other)).changes)
    assert found["/status"] == ("OPEN", "DONE")
    assert found["/steps/check"] == (None, "checked 4")
    assert found["/steps/fetch"] == ([0, 1, 2, 3], None)
    assert found["/result"] == (None, 4)


async def test_a_fork_differs_in_what_it_was_forked_for(app):
    """The edited result, and what came of it."""
    context_id = await ended(app, n=3)
    events = (await contexts.events(app, context_id)).events
    at = next(e for e in events if e.type.endswith("/fetch:DONE")).event_id
    made = await forks.fork(app, context_id, at, edits=forks.Edits([7]))
    async with app.working(root=made.context_id):
        async for _ in contexts.follow(app, made.context_id):
            pass
    found = await diffs.diff(app, Side(context_id), Side(made.context_id), names=["days_seen"])
    assert told(found.changes)["/steps/fetch/0"] == (0, 7)
    assert told(found.changes)["/result"] == (3, 1)


async def test_a_slice_that_cannot_be_folded_is_named_and_hinders_no_other(
    app, monkeypatch, tmp_path
):
    """A reducer that old events do not fit, or a state that JSON cannot hold, is no bug of dama."""
    monkeypatch.setattr("dama.domain.slice._SLICES", {seen.name: seen})
    raises = Slice("raises", initial=0)
    raises.on("days.load:FINAL")(lambda state, event: state + event.payload["rows"])
    Slice("opaque", initial=object())
    one, other = await ended(app, n=2), await ended(app, n=3)

    found = await diffs.diff(app, Side(one), Side(other))
    assert [*found.states] == [seen.name]
    assert sorted(found.unfoldable) == ["opaque", "raises"]
    assert "slice raises cannot be folded here: TypeError: " in found.unfoldable["raises"]

    for name in ("raises", "opaque"):
        with pytest.raises(ReducerError, match=f"slice {name} cannot"):
            await diffs.diff(app, Side(one), Side(other), names=[name])
        with pytest.raises(ReducerError, match=f"slice {name} cannot"):
            await bundles.export_devtools(app, one, tmp_path / name, [name])
    with pytest.raises(ReducerError, match="slice raises cannot"):
        await contexts.state(app, one, raises)


async def test_what_is_not_there_is_said(app):
    """A context, an event of another one, an attempt."""
    context_id = await ended(app)
    with pytest.raises(UnknownContextError):
        await diffs.diff(app, Side(10**9), Side(context_id))
    with pytest.raises(UnknownEventError):
        await diffs.diff(app, Side(context_id, 10**9), Side(context_id))
    with pytest.raises(UnknownAttemptError, match="has 1 attempt,"):
        await diffs.diff(app, Side(context_id, attempt=1), Side(context_id, attempt=2))
