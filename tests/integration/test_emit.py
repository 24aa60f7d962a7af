"""`dama emit` within a program: its line is whole in the file, or the exit code says no."""

import json
import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest

DAMA = Path(sys.executable).parent / "dama"
LINE = b'{"type": "a/b", "payload": {"text": "' + b"x" * 200 + b'"}}\n'


def emit(path, *arguments, largest=None, stderr=subprocess.PIPE):
    """Emit into a file that may be so large; the exit code."""

    def limit():
        if largest is not None:  # the kernel then writes a part, as on a disk that is nearly full
            resource.setrlimit(resource.RLIMIT_FSIZE, (largest, largest))

    environment = {**os.environ, "DAMA_EVENTS": str(path)}
    # The limit has to be that of the command alone.
    run = subprocess.run(
        [DAMA, "emit", *arguments],
        env=environment,
        preexec_fn=limit,
        stdout=subprocess.PIPE,
        stderr=stderr,
        timeout=60,
        check=False,
    )
    return run.returncode


@pytest.mark.parametrize("room", [0, 1, 100, len(LINE) - 1])
def test_half_a_line_costs_no_other_event(tmp_path, room):
    """The disk was full for a moment: what is appended later is whole, also by plain `echo`."""
    events = tmp_path / "events"
    events.write_bytes(LINE)
    assert emit(events, "a/b", "text=" + "x" * 200, largest=len(LINE) + room) == 3
    with events.open("a") as file:
        file.write('{"type": "plain"}\n')
    assert emit(events, "c/d") == 0
    found = events.read_bytes().split(b"\n")
    assert [json.loads(line)["type"] for line in (found[0], *found[-3:-1])] == [
        "a/b",
        "plain",
        "c/d",
    ]
    assert len(found) == 4 + (room > 0)


def test_a_line_after_half_a_line_of_somebody_else_is_whole(tmp_path):
    events = tmp_path / "events"
    events.write_bytes(b'{"type": "a/b", "payl')
    assert emit(events, "c/d") == 0
    assert json.loads(events.read_bytes().splitlines()[-1]) == {"type": "c/d"}


def test_what_nobody_reads_is_not_written(tmp_path):
    """A FIFO without a reader, a full device, a folder, a link to nothing that can be made."""
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "dangling").symlink_to(tmp_path / "no" / "such")
    for path in (tmp_path / "fifo", "/dev/full", tmp_path, tmp_path / "dangling"):
        assert emit(path, "a/b") == 3, path


@pytest.mark.parametrize(("path", "pair", "code"), [("/dev/full", "a=1", 3), ("events", "a", 2)])
def test_the_exit_code_is_the_same_where_nothing_can_be_said(tmp_path, path, pair, code):
    """What a program complains of goes to the same full disk."""
    with Path("/dev/full").open("wb") as full:
        assert emit(tmp_path / path, "a/b", pair, stderr=full) == code
