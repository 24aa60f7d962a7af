"""The journal: what a later run reads of the earlier ones, whoever wrote into the context."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dama.domain.event import ABSENT, StoredEvent
from dama.domain.journal import Journal

BEGUN = datetime(2026, 1, 1, tzinfo=UTC)
RUN = {"epoch": 1}

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=5,
)
TYPES = st.sampled_from(
    ["a.b/k:DONE", "a.b/k:FAILED", "a.b/k:SPAWNED", "a.b/k:WAITING", "/:DONE", "a.b:FINAL", "a"]
)


def stored(type_, payload=ABSENT, meta=ABSENT, version=1):
    """An event as the store gives it, a second after the one before."""
    return StoredEvent(
        type_,
        payload,
        meta=meta,
        event_id=version,
        context_id=1,
        version=version,
        created_at=BEGUN + timedelta(seconds=version),
    )


ANY_HISTORY = st.lists(
    st.builds(
        stored,
        TYPES,
        st.just(ABSENT) | JSON | st.fixed_dictionaries({"context_ids": JSON}),
        st.just(ABSENT) | JSON | st.fixed_dictionaries({"idempotency_key": JSON, "epoch": JSON}),
    ),
    max_size=8,
)


def test_a_new_context_has_nothing_behind_it():
    """The first run does everything."""
    journal = Journal.read([])

    assert vars(journal) == vars(Journal())
    assert journal.version == 0


def test_the_latest_version_is_the_one_that_was_read_up_to():
    """A run that waits looks only for what comes after it."""
    events = [stored("a.b:INITIAL", version=1), stored("x", version=7)]

    journal = Journal.read(events)

    assert journal.version == 7


@pytest.mark.parametrize("result", [None, 0, False, "", [], {}])
def test_a_step_is_done_whatever_its_result(result):
    """A result that is false is a result: the step must not run again."""
    events = [stored("a.b/k:DONE", result, RUN)]

    journal = Journal.read(events)

    assert journal.results == {"k": result}


def test_a_failed_step_is_not_done():
    """The next attempt runs it again."""
    events = [stored("a.b/k:FAILED", {"message": "no"}, RUN)]

    journal = Journal.read(events)

    assert journal.results == {}


def test_a_wait_keeps_the_time_of_the_database_at_which_it_began():
    """A worker that takes over must not begin to wait again."""
    events = [stored("a.b/wait:x:WAITING", {"timeout": 5}, RUN, version=3)]

    journal = Journal.read(events)

    assert journal.waits == {"wait:x": BEGUN + timedelta(seconds=3)}


def test_signals_are_the_events_without_an_epoch_in_their_order():
    """What the run itself wrote, and what the life cycle means, wakes nobody."""
    events = [
        stored("approved", 1),
        stored("approved", 0, RUN),
        stored("a.b:RESUMED"),
        stored("approved"),
        stored("approved", None),
    ]

    journal = Journal.read(events)

    payloads = [signal.payload for signal in journal.signals["approved"]]
    assert payloads == [1, ABSENT, None]


def test_a_key_that_spawned_nothing_is_known():
    """A map over no rows is done; it must not be started again."""
    events = [stored("a.b/map:SPAWNED", {"context_ids": []}, RUN)]

    journal = Journal.read(events)

    assert journal.subtasks == {"map": []}


@pytest.mark.parametrize(
    "payload",
    [ABSENT, None, 5, "x", [2], {}, {"context_ids": None}, {"context_ids": [2, "x", True]}],
)
def test_a_spawned_event_that_no_run_wrote_started_nothing(payload):
    """Anyone may emit one: it must neither stop the run nor stand for its subtasks."""
    events = [
        stored("a.b/map:SPAWNED", payload),
        stored("a.b/map:SPAWNED", {"context_ids": [2, 3]}, RUN),
    ]

    before, after = Journal.read(events[:1]), Journal.read(events)

    assert before.subtasks == {}
    assert after.subtasks == {"map": [2, 3]}


@given(ANY_HISTORY, st.integers(0, 8))
def test_any_history_is_read_and_can_be_read_in_two_parts(events, cut):
    """Runs read on from where they are: old rows and those of others must not stop them."""
    journal = Journal.read(events[:cut])

    for event in events[cut:]:
        journal.take(event)

    assert vars(journal) == vars(Journal.read(events))


FAILURE = {"epoch": 1, "raised": "ValueError", "idempotency_key": "FAILED/k#1"}


def failed_before(epoch, **meta):
    """A step failed in the first epoch, and its attempt in another one."""
    return [
        stored("a.b/k:FAILED", {"message": "no"}, FAILURE, 1),
        stored("a.b:STARTED", meta={"epoch": epoch}, version=2),
        stored("a.b:RETRYING", {"message": "no"}, {"epoch": epoch, **meta}, 3),
    ]


@pytest.mark.parametrize("epoch", [1, 2, 7])
@pytest.mark.parametrize("meta", [{}, {"failed_with": ["k"]}], ids=["unnamed", "named"])
def test_what_an_attempt_failed_with_is_tried_again_whatever_became_of_its_worker(epoch, meta):
    """Its process was taken over, or its worker died before it said so: the epoch has risen."""
    journal = Journal.read(failed_before(epoch, **meta))
    assert not journal.failures
    assert journal.tried == {"k"}


def test_what_an_earlier_attempt_has_outlived_stays_and_is_tried_again_once_it_is_fatal():
    """The code continued after it, and does so in the next attempt, if it is still the same."""
    events = [
        stored("a.b/k:FAILED", {"message": "no"}, FAILURE, 1),
        stored("a.b/after:DONE", 1, {"epoch": 1}, 2),
        stored("a.b:RETRYING", {}, {"epoch": 2, "failed_with": ["other"]}, 3),
        stored("a.b:RETRYING", {}, {"epoch": 3}, 4),
    ]
    journal = Journal.read(events)
    assert set(journal.failures) == {"k"}
    journal.take(stored("a.b:RETRYING", {}, {"epoch": 4, "failed_with": ["k"]}, 5))
    assert not journal.failures


@pytest.mark.parametrize("again", ["DONE", "FAILED"])
def test_what_was_tried_again_keeps_the_place_of_its_first_failure(again):
    """What the code asked for after it was recorded before the second try, and depends on it."""
    side = {"place": "1"}
    events = [
        stored("a.b/k:FAILED", {"message": "no"}, {**FAILURE, **side}, 1),
        stored("a.b/after:DONE", 1, {"epoch": 1, "place": "2"}, 2),
        stored("a.b:RETRYING", {}, {"epoch": 1}, 3),
    ]
    journal = Journal.read(events)
    assert [entry.key for entry in journal.entries] == ["after"]
    first = journal.entries[0].event_id

    journal.take(stored(f"a.b/k:{again}", {}, {**FAILURE, "epoch": 2, **side}, 4))

    assert [(entry.key, entry.kind) for entry in journal.entries] == [
        ("k", again),
        ("after", "DONE"),
    ]
    assert journal.entries[0].event_id <= first
    journal.take(stored("a.b:RETRYING", {}, {"epoch": 2, "failed_with": ["k"]}, 5))
    assert [entry.key for entry in journal.entries][-1] == "after"
    assert ("k" in journal.tried) is (again == "FAILED")
