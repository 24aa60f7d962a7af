"""The time that a job of Slurm has left, from what it says."""

import time

import pytest

from dama.launchers.in_job import seconds_of, time_left
from dama.worker.time_left import MARGIN, TimeLeft


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("59", 59),
        ("4:00", 240),
        ("1:02:03", 3723),
        ("2-00:00:01", 172801),
        ("UNLIMITED", None),
        ("INVALID", None),
        ("", None),
    ],
)
def test_the_times_of_slurm_are_read(text, seconds):
    """As squeue prints them, in each of their lengths."""
    assert seconds_of(text) == seconds


def test_newer_versions_say_the_end_themselves():
    """Slurm is not asked then."""
    left = time_left({"SLURM_JOB_ID": "1", "SLURM_JOB_END_TIME": str(int(time.time()) + 3600)})

    assert 3500 < left <= 3600
    assert time_left({"SLURM_JOB_ID": "1", "SLURM_JOB_END_TIME": "never"}) is None


def test_outside_of_a_job_there_is_no_limit():
    """Nothing is asked."""
    assert time_left({}) is None
    assert TimeLeft(None, {"a.b": 9e9}).fitting(["a.b"]) == ["a.b"]


def test_without_slurm_nobody_can_say(monkeypatch, tmp_path):
    """A job whose nodes have no squeue works on, without a limit."""
    monkeypatch.setenv("PATH", str(tmp_path))

    assert time_left({"SLURM_JOB_ID": "1"}) is None


def test_what_does_not_fit_is_left_out():
    """With a margin for the end; what has no limit fits as long as there is any time."""
    left = TimeLeft(1000, {"a.long": 1000 - MARGIN, "a.short": 800})

    assert left.fitting(["a.long", "a.short", "a.any"]) == ["a.short", "a.any"]
    assert TimeLeft(0, {}).fitting(["a.any"]) == []
