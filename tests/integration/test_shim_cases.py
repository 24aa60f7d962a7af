"""More programs of the kinds that shims must bring to their end whole."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.integration.programs import Shims, marked, wait_until

DAMA = str(Path(sys.executable).with_name("dama"))


@pytest.fixture
def shims(tmp_path):
    """Shims, and nothing left of them."""
    shims = Shims(tmp_path / "runs")
    yield shims
    shims.close()


@pytest.mark.parametrize("pty", [False, True], ids=["files", "pty"])
@pytest.mark.parametrize(
    ("script", "lines"),
    [
        ("exec > >(gzip -c | zcat); seq 5000", 5000),
        ("exec > >(tee >(wc -l >&2) | sort -n); seq 200", 200),
        ("nohup bash -c 'sleep 0.3; seq 50' 2> n | cat & exit 0", 50),
        ("exec > >(awk '{print; fflush()}'); trap 'seq 10' EXIT; seq 3000", 3010),
        ("(trap '' TERM HUP; sleep 0.3; seq 5) & disown; exit 0", 5),
        ("exec > >(while read -r l; do echo $l; done; echo sum); seq 700; kill -KILL $$", 701),
    ],
)
def test_filters_and_late_writers_of_more_kinds_are_whole(shims, script, lines, pty):
    directory = shims.start("bash", "-c", script, pty=pty)
    told = shims.ended(directory)
    found = directory.stdout.read_bytes().count(b"\n")
    assert (found - (1 if pty and "wc" in script else 0), told["told"]) == (lines, 0)


@pytest.mark.parametrize(
    "hiding",
    [
        "su nobody -s /bin/sh -c 'trap \"\" TERM; sleep 614; sleep 614'",
        "trap 'setsid bash -c \"trap : TERM; sleep 614; sleep 614\" & wait' TERM; sleep 614",
        "setsid -w env -i setsid -w bash -c 'kill -STOP $$; sleep 614'",
        "unshare -Urpf --mount-proc bash -c 'trap \"\" TERM; sleep 614; sleep 614'",
        "python3 -c 'import os,time; [os.fork() for _ in range(5)]; time.sleep(614)'",
    ],
)
def test_nothing_is_left_of_who_hides_in_more_ways(shims, hiding):
    command = ["unshare", "-Urpf", "--mount-proc", "true"]
    if hiding.startswith("unshare") and subprocess.run(command, check=False).returncode:
        pytest.skip("NAMESPACES ARE NOT TESTED: this user may not have one")
    if hiding.startswith("su ") and os.geteuid() != 0:
        pytest.skip("ANOTHER USER IS NOT TESTED: this user may not be one")
    directory = shims.start("bash", "-c", f"echo up; {hiding}; :", grace=0.3)
    wait_until(directory.stdout.read_text)
    os.kill(directory.shim(), signal.SIGTERM)
    told = shims.ended(directory)
    assert (told["why"], told["left"]) == ("cancelled", 0)
    assert marked(shims.mark) == []


def test_a_terminal_has_a_cap_as_well(shims):
    script = "seq -f 'line %09.0f' 600000; sleep 614"
    directory = shims.start("bash", "-c", script, log_cap=1_000_000, pty=True)
    wait_until(lambda: directory.stdout.stat().st_size == 600_000 * 16)
    wait_until(lambda: directory.stdout.stat().st_blocks * 512 < 3_000_000)
    os.kill(directory.shim(), signal.SIGTERM)
    shims.ended(directory)


@pytest.mark.parametrize("limit", ["ulimit -f 0", "ulimit -n 3", "ulimit -v 100000"])
def test_an_event_that_cannot_be_written_is_said_by_its_exit_code(shims, tmp_path, limit):
    events = tmp_path / "events"
    environment = {**os.environ, "DAMA_EVENTS": str(events), "MARK": shims.mark}
    script = f"({limit}; {DAMA} emit a/b x=1); echo $?"
    directory = shims.start("bash", "-c", script, environment=environment)
    shims.ended(directory)
    code = int(directory.stdout.read_text().split()[-1])
    text = events.read_text() if events.exists() else ""
    assert (code == 0) == (text.endswith("\n") and text.count("\n") == 1)
