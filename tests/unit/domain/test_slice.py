"""Slices: reducers, creators, matchers, and the laws of a fold."""

import importlib
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import reduce

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from dama.domain.errors import InvalidSliceError, UnknownSliceError, UnreadableEventError
from dama.domain.event import Event, StoredEvent
from dama.domain.journal import Journal
from dama.domain.lifecycle import Lifecycle, Status, lifecycle
from dama.domain.outcome import backoff
from dama.domain.slice import Slice, combine, each, find_slice


@dataclass(frozen=True)
class Loaded:
    """What is loaded."""

    rows: int = 0
    closed: bool = False


@dataclass(frozen=True)
class Rows:
    """A typed payload."""

    rows: int


loaded = Slice("test_loaded", initial=Loaded())


@loaded.reducer
def rows_loaded(state: Loaded, payload: Rows) -> Loaded:
    """Count."""
    return replace(state, rows=state.rows + payload.rows)


@loaded.on("a.b:FINAL")
def ended(state: Loaded, _: Event) -> Loaded:
    """Close."""
    return replace(state, closed=True)


def stored(event: Event, context_id: int = 1, version: int = 1) -> StoredEvent:
    """An event as the store gives it."""
    return StoredEvent(
        event.type,
        event.payload,
        event.error,
        event.meta,
        event_id=version,
        context_id=context_id,
        version=version,
        created_at=datetime(2026, 1, 1, tzinfo=UTC),
    )


def test_a_reducer_is_the_creator_of_its_events():
    """The type and the payload are written once."""
    event = rows_loaded(Rows(7))

    assert event == Event("test_loaded/rows_loaded", {"rows": 7})
    assert rows_loaded.match(event)
    assert loaded.fold([event, event]) == Loaded(rows=14)


def test_a_slice_reacts_to_foreign_types():
    """And an event that it does not know leaves the very same state."""
    state = Loaded(rows=1)

    assert loaded.reduce(state, Event("a.b:FINAL")).closed
    assert loaded.reduce(state, Event("unknown")) is state


def test_matchers_come_after_the_own_case_and_in_their_order():
    """As in Redux Toolkit."""
    order = Slice[tuple[str, ...]]("test_order", initial=())
    order.on("x")(lambda state, _: (*state, "case"))
    order.on_match(lambda _: True)(lambda state, _: (*state, "first"))
    order.on_match(lambda _: True)(lambda state, _: (*state, "second"))

    assert order.fold([Event("x")]) == ("case", "first", "second")


def test_prepare_is_where_a_clock_may_be():
    """The reducer itself stays pure."""
    clocked = Slice("test_clocked", initial=0)

    @clocked.reducer
    def ticked(state: int, payload: int) -> int:
        return state + payload

    ticked.prepare(lambda *, seconds: seconds * 2)

    assert ticked(seconds=3).payload == 6


def test_two_reducers_of_one_type_are_refused():
    """One of them would never be called."""
    with pytest.raises(InvalidSliceError, match="two reducers"):
        loaded.on("a.b:FINAL")(ended)


def test_two_slices_of_one_name_in_one_module_are_refused():
    """The second would take the place of the first, without a word."""
    Slice("test_twin", initial=0)

    with pytest.raises(InvalidSliceError, match=r"two slices named 'test_twin': in .*, in lines"):
        Slice("test_twin", initial=0)


def test_a_module_may_be_imported_again(tmp_path, monkeypatch):
    """As at a prompt, after its file was changed: the new slice takes the place of the old one."""
    module = tmp_path / "twice.py"
    module.write_text("from dama import Slice\nSlice('test_twice', initial=0)\n")
    monkeypatch.syspath_prepend(tmp_path)
    first = importlib.import_module("twice")

    module.write_text("from dama import Slice\n\n\nSlice('test_twice', initial=1)\n")
    importlib.reload(first)

    assert find_slice("test_twice").initial == 1


def test_an_unknown_slice_names_those_that_there_are():
    """A misspelt name is the usual reason."""
    with pytest.raises(UnknownSliceError, match="test_loaded"):
        find_slice("test_loadde")


def test_combine_folds_one_stream_with_several_slices():
    """Each part sees every event."""
    both = combine("test_both", rows=loaded, life=lifecycle)

    state = both.fold([Event("a.b:INITIAL"), rows_loaded(Rows(1))])

    assert state["rows"] == Loaded(rows=1)
    assert state["life"].status is Status.OPEN


def test_each_keeps_a_state_for_each_context():
    """The state of a tree, folded in one pass."""
    by_context = each(loaded)

    state = by_context.fold([stored(rows_loaded(Rows(n)), context_id=n) for n in (1, 2)])

    assert state == {1: Loaded(rows=1), 2: Loaded(rows=2)}


TYPES = st.sampled_from(
    ["INITIAL", "STARTED", "PROGRESS", "RETRYING", "RESUMED", "ERROR", "CANCELLED", "FINAL", "LOG"]
).map("a.b:{}".format) | st.sampled_from(["a.b/x:DONE", "a.b/m:SPAWNED", "free", ":FINAL"])
PAYLOADS = st.none() | st.integers() | st.dictionaries(st.text(), st.integers(), max_size=2)
EVENTS = st.lists(
    st.builds(
        lambda type_, payload, epoch: stored(Event(type_, payload, meta={"epoch": epoch})),
        TYPES,
        PAYLOADS,
        st.integers(0, 9),
    ),
    max_size=20,
)


@given(EVENTS, EVENTS)
def test_a_fold_can_be_cut_anywhere(first, second):
    """fold(a + b) = fold(b, from fold(a)), for any history, bad ones too."""
    assert lifecycle.fold(first + second) == lifecycle.fold(second, lifecycle.fold(first))


@pytest.mark.parametrize(
    "slice_",
    [lifecycle, combine("test_many", life=lifecycle, rows=loaded), each(lifecycle)],
    ids=lambda slice_: slice_.name,
)
@given(histories=st.lists(EVENTS, max_size=3))
def test_many_events_at_once_are_the_same_as_one_by_one(slice_, histories):
    """A fold of a page copies a growing state once, a reducer once an event."""
    events = [
        msgspec.structs.replace(event, context_id=context)
        for context, history in enumerate(histories)
        for event in history
    ]

    assert slice_.fold(events) == reduce(slice_.reduce, events, slice_.initial)


def test_a_fold_leaves_the_states_alone_that_readers_have():
    """Whatever it collects, it does so in lists of its own."""
    before = lifecycle.fold([Event("a.b/x:DONE"), Event("a.b/m:SPAWNED", {"context_ids": [2]})])

    after = lifecycle.fold(
        [Event("a.b/y:DONE"), Event("a.b/m:SPAWNED", {"context_ids": [3]})], before
    )

    assert (before.steps, before.subtasks) == (("x",), {"m": (2,)})
    assert (after.steps, after.subtasks) == (("x", "y"), {"m": (2, 3)})


@given(EVENTS, st.integers(0, 20))
def test_a_snapshot_and_the_rest_are_the_whole(events, cut):
    """A snapshot is a cache: it went through JSON and changes nothing."""
    state = lifecycle.fold(events[:cut])
    restored = lifecycle.decode_state(lifecycle.encode_state(state))

    assert lifecycle.fold(events[cut:], restored) == lifecycle.fold(events)


@given(EVENTS)
def test_a_reducer_changes_nothing_that_it_was_given(events):
    """Twice from the same state gives the same, and the state stays as it was."""
    state = lifecycle.fold(events[:-1])
    before = lifecycle.encode_state(state)

    if events:
        assert lifecycle.reduce(state, events[-1]) == lifecycle.reduce(state, events[-1])
    assert lifecycle.encode_state(state) == before


def test_the_status_follows_the_life_cycle():
    """None, OPEN, ERROR, OPEN again with any later event, DONE."""
    events = [
        Event("a.b:INITIAL", {"year": 2013}),
        Event("a.b:ERROR", {"message": "no"}, True),  # noqa: FBT003 - as it is stored
        Event("a.b:RESUMED"),
        Event("a.b:FINAL", 0),
    ]

    statuses = [lifecycle.fold(events[:n]).status for n in range(5)]

    assert statuses == [None, Status.OPEN, Status.ERROR, Status.OPEN, Status.DONE]
    assert lifecycle.fold(events).params == {"year": 2013}
    assert lifecycle.fold(events).result == 0


def test_attempts_steps_and_subtasks_are_told():
    """What `dama show` shows."""
    state = lifecycle.fold(
        [
            Event("a.b:INITIAL"),
            Event("a.b:STARTED", meta={"epoch": 1, "worker": "h:1"}),
            Event("a.b/extract:DONE", 1),
            Event("a.b/map:c.d:SPAWNED", {"context_ids": [2, 3]}),
            Event("a.b:FINAL"),
        ]
    )

    assert [(a.epoch, a.worker, a.outcome) for a in state.attempts] == [(1, "h:1", "done")]
    assert state.steps == ("extract",)
    assert state.subtasks == {"map:c.d": (2, 3)}


def test_an_empty_life_cycle_has_no_status():
    """A context without events is nothing yet."""
    assert lifecycle.initial == Lifecycle()


def test_the_journal_knows_what_was_done():
    """Whatever characters a key has."""
    events = [
        Event("warehouse/a.b/extract:DONE", {"rows": 1}),
        Event("warehouse/a.b/none:DONE"),
        Event("warehouse/a.b/map:c/d.e:SPAWNED", {"context_ids": [2]}),
        Event("x", 1, meta={"idempotency_key": "k"}),
    ]

    journal = Journal.read(stored(event) for event in events)

    assert journal.results == {"extract": {"rows": 1}, "none": None}
    assert journal.subtasks == {"map:c/d.e": [2]}
    assert journal.sent == {"k"}


def test_waits_between_attempts_double_up_to_a_limit():
    """Jitter takes away up to half."""
    assert [backoff(n, 1, 5, 1.0) for n in (1, 2, 3, 4)] == [1, 2, 4, 5]
    assert backoff(1, 1, 5, 0.0) == 0.5


def test_a_reducer_that_returns_nothing_is_found_at_once():
    """A forgotten return would else become the state of all that follows."""
    forgetful = Slice("test_forgetful", initial=0)
    forgetful.on("x")(lambda _, __: None)

    with pytest.raises(InvalidSliceError, match="gave no state for 'x'"):
        forgetful.fold([Event("x")])


class Model(BaseModel):
    """A payload as services have them."""

    day: datetime


def test_a_pydantic_model_is_a_payload_as_any_other():
    """The params of tasks are such models."""
    days = Slice("test_days", initial=0)

    @days.reducer
    def seen(_: int, payload: Model) -> int:
        return payload.day.year

    event = seen(Model(day=datetime(2013, 1, 2, tzinfo=UTC)))

    assert event.payload == {"day": "2013-01-02T00:00:00Z"}
    assert days.fold([event]) == 2013


@pytest.mark.parametrize(
    "event", [Event("test_loaded/rows_loaded"), Event("test_loaded/rows_loaded", {"rows": "x"})]
)
def test_a_stored_event_that_does_not_fit_is_named(event):
    """Out of a million events, the one to look at."""
    with pytest.raises(UnreadableEventError, match=r"event 7 \(test_loaded/rows_loaded\)"):
        loaded.fold([stored(event, version=7)])


@pytest.fixture
def _apart(monkeypatch):
    """Slices that no other test of the process meets."""
    monkeypatch.setattr("dama.domain.slice._SLICES", {})


def _append(state, event):
    state["items"].append(event.payload)
    return state


def _add_and_forget(state, events):
    state |= {"items": [event.payload for event in events]}
    return {}


@pytest.mark.usefixtures("_apart")
@pytest.mark.parametrize("own", [_append, None], ids=["a reducer", "a function that folds many"])
def test_a_state_that_is_changed_in_place_is_refused(own):
    counts = Slice(f"in-place-{own is None}", initial={"items": list[int]()})
    if own is None:
        counts.fold_many(_add_and_forget)
    else:
        counts.on("added")(own)
    for _ in range(2):  # it is found each time, and the next context begins as it should
        with pytest.raises(InvalidSliceError, match=r"changed the initial state in place.*'items'"):
            counts.fold([Event("added", 1)])
        assert counts.initial == {"items": []}


@pytest.mark.usefixtures("_apart")
def test_what_cannot_be_compared_is_no_fault_of_a_reducer():
    class Opaque:
        __hash__ = None

    counts = Slice("opaque", initial={"codec": Opaque(), "rows": 0})
    counts.on("added")(lambda state, event: {**state, "rows": state["rows"] + event.payload})
    assert counts.fold([Event("added", 1), Event("added", 2)])["rows"] == 3
