"""What a launcher does about what an engine shows: cases of what is placed, and what is seen."""

import pytest

from dama.launchers.launcher import DELETED, Key, Sighting, State
from dama.launchers.plan import ENDING_SECONDS, Limits, Memory, plan
from dama.store.placements import Placement

JOB = Key("dama-1-1", 0)


def placed(run: str | None = "placed", **known: object) -> Placement:
    """A placement of `JOB`."""
    fields = {"native_id": "7", "state": "pending", "reason": None, "node": None, "age": 100.0}
    rest = {"submissions": 1, "run": run, "quiet": None}
    return Placement(1, 1, *JOB, "fit", **{**fields, **rest, **known})  # type: ignore[arg-type]


def seen(state: State, native_id: str = "7", **how: object) -> dict[Key, Sighting]:
    """What an engine says of `JOB`."""
    return {JOB: Sighting(state, native_id, **how)}  # type: ignore[arg-type]


def test_a_job_that_nobody_wants_and_has_not_begun_is_cancelled_at_once() -> None:
    """No program has begun there."""
    done = plan([placed(None)], seen("pending"), Memory(), now=0, grace=10)
    assert done.cancel == ["7"]


@pytest.mark.parametrize("run", [None, "queued", "retrying"])
def test_a_job_that_runs_has_time_to_end_what_its_program_started(run: str | None) -> None:
    """An engine may end the processes of the job only; each job has a minute of its own."""
    memory, gone = Memory(), [placed(run)]
    for now in (0, ENDING_SECONDS / 2):
        assert plan(gone, seen("running"), memory, now=now, grace=10).cancel == []
    assert plan(gone, seen("running", "8"), memory, now=ENDING_SECONDS, grace=10).cancel == []
    late = 2 * ENDING_SECONDS
    assert plan(gone, seen("running", "8"), memory, now=late, grace=10).cancel == ["8"]


@pytest.mark.parametrize("run", ["queued", "retrying"])
def test_a_run_whose_job_goes_on_without_it_may_have_another_place_after_a_look(run: str) -> None:
    """The engine has not noticed yet that the node is lost. The job still has its minute."""
    memory, limits, left = Memory(), Limits(look=10), [placed(run)]
    for now in (0, 9):
        assert plan(left, seen("running"), memory, now=now, grace=10, limits=limits).forget == []
    done = plan(left, seen("running"), memory, now=10, grace=10, limits=limits)
    assert (done.forget, done.cancel) == (left, [])
    late = plan([], seen("running"), memory, now=ENDING_SECONDS, grace=10, limits=limits)
    assert late.cancel == ["7"]


def test_a_job_that_is_wanted_again_begins_its_minute_anew() -> None:
    """A resumed run has the job of its epoch."""
    memory = Memory()
    plan([placed(None)], seen("running"), memory, now=0, grace=10)
    plan([placed("running")], seen("running"), memory, now=50, grace=10)
    assert plan([placed(None)], seen("running"), memory, now=100, grace=10).cancel == []


def test_a_job_that_the_database_does_not_know_is_looked_at_twice() -> None:
    """It may have been placed after the database was read."""
    memory = Memory()
    assert plan([], seen("pending"), memory, now=0, grace=10).cancel == []
    assert plan([], seen("pending"), memory, now=1, grace=10).cancel == ["7"]


def test_a_job_that_has_ended_is_not_cancelled() -> None:
    """Its placement is forgotten."""
    done = plan([placed(None)], seen("ended"), Memory(), now=0, grace=10)
    assert (done.cancel, len(done.forget)) == ([], 1)


def test_what_the_engine_does_not_know_is_asked_for_again_and_lost_at_last() -> None:
    """Only after it had time to reach the engine, and at most three times."""
    memory, known = Memory(), placed(submissions=1)
    assert plan([known], {}, memory, now=0, grace=10).submit == []
    assert plan([known], {}, memory, now=10, grace=10).submit == [known]
    ((_, sighting),) = plan([placed(submissions=3)], {}, memory, now=10, grace=10).judge
    assert (sighting.state, sighting.why) == ("ended", "lost")


def test_what_an_engine_has_shown_and_keeps_was_removed_when_it_is_not_there_any_more() -> None:
    """One that forgets what has ended, or may have by now, says nothing by showing nothing."""
    cases = [
        (placed(), 1), (placed(state="running"), 1), (placed("queued"), 1), (placed("retrying"), 1),
        (placed(state=None), 0), (placed(age=3600.0), 0), (placed("running", quiet=0.5), 0),
        (placed("running", quiet=60.0), 1), (placed(None), 0),
        # It was deleted while its worker had still to end, and is gone now.
        (placed("queued", state="ended", reason=DELETED), 1), (placed("queued", state="ended"), 0),
    ]  # fmt: skip
    for known, judged in cases:
        done = plan([known], {}, Memory(), now=0, grace=10, limits=Limits(keeps=3600))
        assert [job.why for _, job in done.judge] == ["cancelled"] * judged, known
        assert done.submit == []
        assert plan([known], {}, Memory(), now=0, grace=10).judge == []


def test_a_worker_that_was_heard_of_is_believed_rather_than_the_engine() -> None:
    """It renews its lease each second; the engine may say the end early."""
    for quiet, judged in ((0.5, 0), (60.0, 1)):
        done = plan([placed("running", quiet=quiet)], seen("ended"), Memory(), now=0, grace=10)
        assert len(done.judge) == judged
