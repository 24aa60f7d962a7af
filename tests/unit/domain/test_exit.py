"""Exits: what the end of a program means for its run."""

import pytest

from dama.domain.exit import Exit, ExitCodes, complaint, judged
from dama.programs.shim.supervisor import TIMED_OUT
from dama.run.errors import ProgramError, ProgramLostError

CODES = ExitCodes(done=frozenset({0, 3}), retry=frozenset({75}), fail=frozenset({64}))


def ended(code=0, signal=None, why="", **others):
    """A report of a shim."""
    return {"code": code, "signal": signal, "why": why, **others}


@pytest.mark.parametrize(
    ("result", "left_out", "expected"),
    [
        (None, {}, {"exit_code": 3}),
        ([1], {}, [1]),
        (0, {}, 0),
        (None, {"result": "large"}, {"exit_code": 3, "left_out": {"result": "large"}}),
        ({"a": 1}, {"artifacts": "many"}, {"a": 1, "left_out": {"artifacts": "many"}}),
        (7, {"artifacts": "many"}, {"result": 7, "left_out": {"artifacts": "many"}}),
    ],
)
def test_a_program_that_did_its_work_has_a_result_and_names_what_is_missing(
    result, left_out, expected
):
    assert judged(Exit("p", ended(3), result=result, left_out=left_out), CODES) == expected


@pytest.mark.parametrize(
    ("report", "is_final", "words"),
    [
        (ended(75), False, "p ended with exit code 75: last words"),
        (ended(64), True, "exit code 64"),
        (ended(1), True, "exit code 1"),
        (ended(None, 9), False, "killed by signal 9"),
        (ended(0, why=TIMED_OUT), False, "p reached its timeout and was terminated"),
        (ended(0, why="cancelled"), False, "told to end"),
        (ended(127, error="No such file: p"), True, "could not be started: No such file: p"),
    ],
)
def test_a_program_that_did_not_says_why_and_whether_to_try_again(report, is_final, words):
    with pytest.raises(ProgramError, match=words) as raised:
        judged(Exit("p", report, stderr=["first", "last words"]), CODES)
    assert raised.value.is_final is is_final
    assert raised.value.data["stderr"] == ["first", "last words"]


def test_without_a_report_the_result_decides():
    """The shim was killed, so the exit code is unknown."""
    assert judged(Exit("p", None, result={"rows": 1}), CODES) == {"rows": 1}
    with pytest.raises(ProgramLostError):
        judged(Exit("p", None), CODES)


def test_what_was_gone_before_anybody_followed_it_is_lost_whatever_it_left():
    with pytest.raises(ProgramLostError):
        judged(Exit("p", None, is_lost=True, result=1), CODES)


def test_the_last_words_are_cut_where_they_are_long():
    assert len(complaint(Exit("p", ended(1), stderr=["x" * 5000]))) < 400
