"""Reserved events: what nobody but the controller may write."""

from __future__ import annotations

import pytest

from dama.domain.errors import InvalidEventError, ReservedEventError
from dama.domain.event import KINDS, Event
from dama.domain.reserved import is_for_programs, is_key_of_a_run, is_reserved, refuse_reserved


@pytest.mark.parametrize("prefix", ["", "x", "flights.load", "a.b/c", "::", "a:FINAL", "ü"])
@pytest.mark.parametrize("kind", [k for k in KINDS if k not in {"PROGRESS", "LOG"}])
def test_each_event_of_the_life_cycle_is_reserved_with_any_prefix(prefix, kind):
    """A bare suffix and a prefixed one mean the same to those who read them."""
    assert is_reserved(f"{prefix}:{kind}")
    assert not is_for_programs(f"{prefix}:{kind}")


@pytest.mark.parametrize("suffix", ["DONE", "FAILED", "SPAWNED", "WAITING"])
def test_steps_are_reserved_of_whatever_task_they_say_they_are(suffix):
    """Replay takes a step by its key, and does not ask whose it was."""
    assert is_reserved(f"flights.load/extract:{suffix}")
    assert is_reserved(f"other.task/a/b:{suffix}")


@pytest.mark.parametrize(
    "type_",
    ["approved", "rows/loaded", "x:PROGRESS", ":LOG", "FINAL", "x:final", "x:FINAL ", "a:DONE"],
)
def test_signals_and_domain_events_are_free(type_):
    assert not is_reserved(type_)
    refuse_reserved(Event(type_))


def test_a_program_may_keep_account_of_its_steps_but_not_spawn():
    assert is_for_programs("a.b/extract:DONE")
    assert is_for_programs("a.b/extract:FAILED")
    assert not is_for_programs("a.b/extract:SPAWNED")
    assert not is_for_programs("a.b/extract:WAITING")


@pytest.mark.parametrize(
    "event",
    [
        Event("approved", meta={"epoch": 1}),
        Event("approved", meta={"epoch": 0}),
        *(
            Event("approved", meta={"idempotency_key": key})
            for key in ("FINAL#1", "STARTED#2", "DONE/x", "SPAWNED/a.b", "dispatch/x", "ship/1/a",
                        "LOG", "LOG#2", "PROGRESS@1", "PROGRESS#2@1", "WAITING/w", "FAILED/x#1")
        ),
    ],
)  # fmt: skip
def test_nobody_outside_speaks_as_a_run_or_takes_its_keys(event):
    """With a key of the run its own event would be taken for a repetition, and left out."""
    with pytest.raises(ReservedEventError) as found:
        refuse_reserved(event)
    assert found.value.hint
    assert isinstance(found.value, InvalidEventError)


@pytest.mark.parametrize("key", ["k", "approval-42", "LOGBOOK", "finals/1", None, 7])
def test_other_keys_are_free(key):
    assert not is_key_of_a_run(key)
