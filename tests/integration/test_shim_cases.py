"""More programs of the kinds that shims must bring to their end whole."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from dama.programs.launch import Launch
from dama.programs.run_directory import State
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


HEADLESS = """
import ctypes, signal, threading, time
for number in (signal.SIGTERM, signal.SIGHUP):
    signal.signal(number, signal.SIG_IGN)
def stay():
    while open("/proc/self/stat").read().rpartition(")")[2].split()[0] != "Z":
        time.sleep(0.01)
    print("up", flush=True)
    time.sleep(614)
threading.Thread(target=stay).start()
ctypes.CDLL(None).syscall(60, 0)  # of this thread only
"""


def test_a_program_lives_as_long_as_one_of_its_threads(shims):
    """The kernel calls it a zombie when its first thread has ended; it is not gone."""
    directory = shims.start(sys.executable, "-c", HEADLESS)
    wait_until(directory.stdout.read_text)
    shim = shims.shims.pop(directory)
    os.kill(shim, signal.SIGKILL)
    os.waitpid(shim, 0)
    assert directory.state() is State.UNSUPERVISED
    os.kill(directory.pid(), signal.SIGKILL)


def test_what_hides_without_its_first_thread_is_ended(shims):
    script = f"setsid -w {sys.executable} -c '{HEADLESS}'; :"
    directory = shims.start("bash", "-c", script, grace=0.2)
    wait_until(directory.stdout.read_text)
    os.kill(directory.shim(), signal.SIGTERM)
    told = shims.ended(directory)
    assert (told["why"], told["left"]) == ("cancelled", 0)
    assert marked(shims.mark) == []


FREEZER = Path("/sys/fs/cgroup/freezer")


class Impatient(Launch):
    """A launch whose shim gives up soon."""

    def spec(self, epoch):
        return {**super().spec(epoch), "patience": 0.5}


@pytest.fixture
def frozen():
    """Freeze processes, which nothing ends then: as one that waits for a disk in the kernel."""
    group = FREEZER / f"dama-{os.getpid()}"
    try:
        group.mkdir()
    except OSError:
        pytest.skip("WHAT HANGS IN THE KERNEL IS NOT TESTED: this user may not freeze a process")

    def freeze(pid):
        (group / "cgroup.procs").write_text(str(pid))
        (group / "freezer.state").write_text("FROZEN")
        wait_until(lambda: (group / "freezer.state").read_text() == "FROZEN\n")

    yield freeze
    (group / "freezer.state").write_text("THAWED")
    wait_until(lambda: not (group / "cgroup.procs").read_text())
    group.rmdir()


@pytest.mark.parametrize("who", ["program", "child"])
def test_what_hangs_in_the_kernel_is_counted_and_named(shims, frozen, who):
    """Its shim does not wait for it forever, and claims no exit code that nobody knows."""
    script = "sleep 614 & echo $!; wait"
    directory = shims.start("bash", "-c", script, kind=Impatient, grace=0.2)
    wait_until(directory.stdout.read_text)
    hung = directory.pid() if who == "program" else int(directory.stdout.read_text())
    frozen(hung)
    os.kill(directory.shim(), signal.SIGTERM)
    told = shims.ended(directory)
    assert (told["why"], told["left"], told["code"]) == ("cancelled", 1, None)
    assert (told["signal"] is None) is (who == "program")
    assert f"[{hung}] cannot be ended" in (directory.path / "shim.log").read_text()
