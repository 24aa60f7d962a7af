"""given/when/then: what a test of a slice says, and how it fails."""

import pytest

from dama.domain.event import Event
from dama.domain.slice import Slice
from dama.testing import given

counter = Slice("test_counter", initial=0)


@counter.reducer
def counted(state: int, by: int) -> int:
    """Add."""
    return state + by


@counter.selector
def doubled(state: int) -> int:
    """Twice."""
    return 2 * state


def test_a_scenario_reads_as_it_is_meant():
    """Given what happened, when this happens, then that is so."""
    given(counter, counted(1)).when(counted(2), Event("unknown")).then(3)
    given(counter, counted(1)).then_select("doubled", 2)


def test_a_difference_shows_both_states():
    """Whoever reads it needs no debugger."""
    with pytest.raises(AssertionError, match=r"expected 4\n +got 3"):
        given(counter).when(counted(3)).then(4)


@pytest.mark.parametrize(
    "after", [lambda state: state, list], ids=["the same state", "a copy of the changed state"]
)
def test_a_reducer_that_changes_its_state_is_found(after):
    """The first of the two classic mistakes, whatever it returns then."""
    impure = Slice[list[int]]("test_impure", initial=[])
    impure.on("x")(lambda state, _: after(state.append(1) or state))

    with pytest.raises(AssertionError, match="changes the state that it was given"):
        given(impure).when(Event("x"))


def test_a_reducer_that_gives_two_answers_is_found():
    """The second: a clock or a random number in it."""
    ticks = iter(range(9))
    moody = Slice("test_moody", initial=0)
    moody.on("x")(lambda _, __: next(ticks))

    with pytest.raises(AssertionError, match="two answers"):
        given(moody).when(Event("x"))
