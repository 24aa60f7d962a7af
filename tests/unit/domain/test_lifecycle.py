"""The life cycle: a state machine for histories the store admits, total for all others."""

import json
from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from dama.domain.event import KINDS, Event, StoredEvent
from dama.domain.lifecycle import Status, lifecycle

# Which kinds may come next, and the status after them: written here again, apart from the product.
RUNNING = {"STARTED", "PROGRESS", "RETRYING", "RESUMED", "LOG", "ERROR", "CANCELLED", "FINAL"}
ADMITTED = {
    None: {"INITIAL"},
    Status.OPEN: RUNNING,
    Status.ERROR: RUNNING,
    Status.CANCELLED: {"RESUMED"},
    Status.DONE: set(),
}
AFTER = {"ERROR": Status.ERROR, "CANCELLED": Status.CANCELLED, "FINAL": Status.DONE}

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=5,
)
ANY_EVENT = st.builds(
    lambda type_, payload, meta, version: StoredEvent(
        type_,
        payload,
        meta=meta,
        event_id=version,
        context_id=1,
        version=version,
        created_at=datetime(2026, 1, 1, tzinfo=UTC),
    ),
    st.sampled_from([f"{name}:{kind}" for name in ("", "a.b") for kind in KINDS])
    | st.sampled_from(["a.b/k:DONE", "a.b/k:FAILED", "a.b/k:SPAWNED", "/:DONE", "a", ":", "/"]),
    JSON | st.fixed_dictionaries({"context_ids": JSON}),
    JSON | st.fixed_dictionaries({"epoch": JSON, "worker": JSON}),
    st.integers(1, 99),
)


@st.composite
def admitted_histories(draw):
    """Histories that the store lets in, with the status that each event leaves."""
    status, history = None, []
    for _ in range(draw(st.integers(0, 8))):
        if not ADMITTED[status]:
            break
        kind = draw(st.sampled_from(sorted(ADMITTED[status])))
        status = AFTER.get(kind, Status.OPEN)
        history.append((Event(draw(st.sampled_from([":", "a.b:"])) + kind), status))
    return history


@given(admitted_histories())
def test_the_status_is_that_of_the_state_machine_after_every_event(history):
    """None, OPEN, ERROR until any later event, CANCELLED until RESUMED, DONE for good."""
    events = [event for event, _ in history]

    found = [lifecycle.fold(events[: n + 1]).status for n in range(len(events))]

    assert found == [status for _, status in history]


@given(st.lists(ANY_EVENT, max_size=8), st.integers(0, 8))
def test_no_history_is_too_bad_to_be_folded_or_to_be_a_snapshot(events, cut):
    """Old programs wrote anything; an operator must see the state of their contexts too."""
    text = json.dumps(lifecycle.encode_state(lifecycle.fold(events[:cut])))

    restored = lifecycle.decode_state(json.loads(text))

    assert lifecycle.fold(events[cut:], restored) == lifecycle.fold(events)


def test_an_old_error_without_its_flag_still_fails_the_context():
    """New writers are refused it; the rows of old ones are there."""
    state = lifecycle.fold([Event("a.b:INITIAL"), Event("a.b:ERROR", "disk full")])

    assert state.status is Status.ERROR


def test_a_history_of_many_steps_is_folded_in_linear_time():
    """Copying the keys again for each step takes minutes, longer than a test may."""
    events = [Event(f"a.b/{n}:DONE") for n in range(300_000)]

    state = lifecycle.fold(events)

    assert len(state.steps) == len(events)
