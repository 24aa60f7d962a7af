"""Retries: whether a failure is worth another try, and when; chance is passed in."""

import pytest

from dama.definitions.options import TaskOptions
from dama.domain.exit import ProgramError
from dama.domain.outcome import Failed
from dama.domain.outcome import Retry as Again
from dama.domain.retries import Retry, after_failure, delay_after
from dama.run.errors import DivergedError, UnawaitedError

OPTIONS = TaskOptions(retries=2, backoff=10.0, max_backoff=15.0)


@pytest.mark.parametrize(
    ("attempt", "chance", "delay"),
    [(1, 0.0, 5.0), (1, 1.0, 10.0), (2, 0.0, 7.5), (2, 1.0, 15.0), (3, 0.5, None)],
)
def test_the_same_chance_makes_the_same_delay(attempt, chance, delay):
    """Half to all of the doubled wait, at most the longest; none after the last retry."""
    assert delay_after(OPTIONS, attempt, ValueError("x"), chance) == delay


@pytest.mark.parametrize(
    "error",
    [
        DivergedError("a", "b"),
        UnawaitedError(["task.run()"]),
        ProgramError("x", is_final=True),
        ExceptionGroup("all", [ValueError("x"), DivergedError("a", "b")]),
        ExceptionGroup("all", [ExceptionGroup("more", [ProgramError("x", is_final=True)])]),
    ],
)
def test_what_is_final_is_never_tried_again(error):
    """Another attempt would end in the same way; one such error in a group is enough."""
    assert after_failure(OPTIONS, 1, error, 0.5) == Failed(error)


def test_the_longest_wish_of_a_group_counts():
    """Whoever asks for more time knows why."""
    error = ExceptionGroup("both", [Retry(after=3), Retry(after="1m"), Retry()])

    assert after_failure(OPTIONS, 1, error, 0.5) == Again(error, 60.0)


def test_a_wish_has_no_more_tries_than_the_task():
    """A wish says when; how often is the task's to say."""
    assert delay_after(OPTIONS, 3, Retry(after=1), 0.5) is None


class BatchError(ExceptionGroup[Exception]):
    """A group with a name of its own, as libraries raise."""


GROUP = ExceptionGroup("all", [OSError("x"), ExceptionGroup("more", [ConnectionError("y")])])
ODD = BaseExceptionGroup("odd", [OSError("x"), KeyboardInterrupt()])


@pytest.mark.parametrize(
    ("error", "options", "is_tried"),
    [
        (GROUP, {"retry_on": OSError}, True),
        (GROUP, {"retry_on": ConnectionError}, False),
        (GROUP, {"fail_on": ConnectionError}, False),
        (GROUP, {"retry_on": ValueError}, False),
        (GROUP, {"retry_on": ExceptionGroup}, True),
        (GROUP, {"fail_on": ExceptionGroup}, False),
        (BatchError("rows", [ValueError("x")]), {"retry_on": BatchError}, True),
        (BatchError("rows", [ValueError("x")]), {"retry_on": (BatchError, OSError)}, True),
        (BatchError("rows", [ValueError("x")]), {"fail_on": BatchError}, False),
        (
            BatchError("rows", [ValueError("x")]),
            {"retry_on": BatchError, "fail_on": ValueError},
            False,
        ),
        (
            ExceptionGroup("all", [BatchError("rows", [ValueError("x")])]),
            {"retry_on": BatchError},
            True,
        ),
        (ODD, {}, True),
        (ODD, {"retry_on": OSError}, False),
        (ODD, {"fail_on": KeyboardInterrupt}, False),
    ],
)
def test_a_group_is_judged_by_its_own_class_and_by_what_is_in_it(error, options, is_tried):
    """Its class may be what is named; otherwise all that is in it must be worth another try."""
    tuples = {k: v if isinstance(v, tuple) else (v,) for k, v in options.items()}
    is_again = delay_after(TaskOptions(retries=2, backoff=10.0, **tuples), 1, error, 0.5)
    assert (is_again is not None) == is_tried
