"""The laws of snapshots, for the shapes of state that people write and for joined slices."""

import json
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import reduce
from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dama.domain.errors import InvalidSliceError, UnreadableEventError
from dama.domain.event import Event, StoredEvent
from dama.domain.slice import Slice, combine, each


@dataclass(frozen=True)
class Month:
    """What a month has."""

    rows: int = 0


@dataclass(frozen=True)
class Year:
    """Its months by their numbers: keys that JSON makes text of."""

    months: dict[int, Month] = field(default_factory=dict)


typed = Slice("laws_typed", initial=Year())
plain = Slice[dict[int, Month]]("laws_plain", initial={})
count = Slice("laws_count", initial=0, version=3)
faulty = Slice[dict[str, int]]("laws_faulty", initial={})


def one_more(months: dict[int, Month], number: int) -> dict[int, Month]:
    before = months.get(number, Month())
    return {**months, number: replace(before, rows=before.rows + 1)}


@typed.on("loaded")
def loaded(state: Year, event: Event) -> Year:
    """Count the rows of a month."""
    return replace(state, months=one_more(state.months, event.payload))


@plain.on("loaded")
def loaded_plainly(state: dict[int, Month], event: Event) -> dict[int, Month]:
    """Count them in a plain dict, whose type only this annotation says."""
    return one_more(state, event.payload)


@count.on_match(lambda _: True)
def counted(state: int, _: Event) -> int:
    """Count all."""
    return state + 1


@faulty.reducer(type="loaded")
def loaded_faultily(state: dict[str, int], month: Literal[2, 3, 9, 10, 11, 12]) -> Any:
    """Do, for some months, what no reducer may."""
    match month:
        case 10:
            state["10"] = 1
        case 11:
            return None
        case 12:
            raise ValueError("there is no month 12")
    return {**state, str(month): state.get(str(month), 0) + 1}


def outcome(fold: Callable[[], Any]) -> tuple[str, object]:
    """What a fold returned or raised."""
    try:
        return "state", fold()
    except (InvalidSliceError, UnreadableEventError, ValueError) as error:
        return type(error).__name__, str(error)


SLICES = [
    typed,
    plain,
    combine("laws_combined", typed=typed, plain=plain, count=count),
    each(typed),
    each(combine("laws_inner", typed=typed, count=count), name="laws_nested"),
]
EVENTS = st.lists(
    st.builds(
        lambda type_, month, context: StoredEvent(
            type_,
            month,
            event_id=1,
            context_id=context,
            version=1,
            created_at=datetime(2026, 1, 1, tzinfo=UTC),
        ),
        st.sampled_from(["loaded", "unknown"]),
        st.integers(1, 12),
        st.integers(1, 3),
    ),
    max_size=12,
)


def through_json(slice_, state):
    return slice_.decode_state(json.loads(json.dumps(slice_.encode_state(state))))


@pytest.mark.parametrize("slice_", SLICES, ids=lambda slice_: slice_.name)
@given(events=EVENTS, cut=st.integers(0, 12))
def test_a_snapshot_at_any_event_and_the_tail_are_the_full_fold(slice_, events, cut):
    """It went through jsonb: types and keys must come back, or the tail fails in production."""
    restored = through_json(slice_, slice_.fold(events[:cut]))

    assert slice_.fold(events[cut:], restored) == slice_.fold(events)


@pytest.mark.parametrize("slice_", SLICES, ids=lambda slice_: slice_.name)
@given(first=EVENTS, second=EVENTS)
def test_a_fold_can_be_cut_anywhere(slice_, first, second):
    """fold(a + b) = fold(b, from fold(a))."""
    assert slice_.fold(first + second) == slice_.fold(second, slice_.fold(first))


@pytest.mark.parametrize("slice_", [*SLICES, faulty], ids=lambda slice_: slice_.name)
@given(events=EVENTS)
def test_a_fold_is_its_events_reduced_one_by_one(slice_, events):
    """What a reducer raises, returns instead of a state or changes in place is found by both."""
    at_once = outcome(lambda: slice_.fold(events))

    assert at_once == outcome(lambda: reduce(slice_.reduce, events, slice_.initial))


@given(EVENTS)
def test_each_context_of_a_tree_is_folded_as_if_it_were_alone(events):
    """However the events of a tree are interleaved."""
    together = each(typed, name="laws_alone").fold(events)

    assert together == {
        context: typed.fold(e for e in events if e.context_id == context)
        for context in {e.context_id for e in events if e.type == "loaded"}
    }


def test_a_new_version_of_a_part_is_a_new_version_of_the_whole():
    """Else a snapshot of the old reducers would be taken for one of the new."""
    before, after = (Slice("laws_part", initial=0, version=version) for version in (1, 2))

    combined = [combine("laws_v", part=part).version for part in (before, after)]
    kept_for_each = [each(part).version for part in (before, after)]

    assert combined[0] < combined[1]
    assert kept_for_each[0] < kept_for_each[1]
