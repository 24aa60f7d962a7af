"""Shims whose file system fails in the middle of a run, refuses something or cannot be read."""

import errno
import json
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from tests.integration.programs import Shims, begun, wait_until

ROOT = Path(__file__).parents[2]
# From the start of the program on each call fails for a while, as on a share whose server is gone.
FAILING = """
import json, os, sys
from dama.programs.shim import supervisor
folder, number, pty, folders = sys.argv[1:]
os.chdir(folder)
supervisor.LOOK_SECONDS = 0.02
names = "fsync" if folders else "stat lstat fstat open rename fsync ftruncate"
left = dict.fromkeys(names.split(), 0)
def failing(name, real):
    def call(*arguments, **options):
        is_away = folders != "folders" or os.path.isdir(f"/proc/self/fd/{arguments[0]}")
        if left[name] > 0 and is_away:
            left[name] -= 1
            raise OSError(int(number), os.strerror(int(number)))
        return real(*arguments, **options)
    return call
for name in left:
    setattr(os, name, failing(name, getattr(os, name)))
class Failing(supervisor.Shim):
    def watch(self):
        left.update(dict.fromkeys(left, 1 << 30 if folders else 2))
        super().watch()
spec = {"argv": ["bash", "-c", "seq 50; exit 3"], "cwd": "/", "epoch": 1, "grace": 1,
        "log_cap": 1 << 30, "pty": pty == "pty"}
json.dump(spec, open("spec.json", "w"))
supervisor.own_run(lambda spec: Failing(spec, dict(os.environ)))
assert folders or not any(left.values()), left
"""


@pytest.fixture
def shims(tmp_path):
    """Shims, and nothing left of them."""
    shims = Shims(tmp_path / "runs")
    yield shims
    shims.close()


def end_of_a_run(tmp_path, problem, *, pty="", folders=""):
    """Run a program whose shim meets an error; its exit code and the number of its lines."""
    folder = tmp_path / "run"
    folder.mkdir()
    command = [sys.executable, "-c", FAILING, str(folder), str(problem), pty, folders]
    run = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, check=False, start_new_session=True
    )
    assert run.returncode == 0, run.stderr
    code = json.loads((folder / "exit.json").read_text())["code"]
    return code, len((folder / "stdout").read_text().splitlines())


@pytest.mark.parametrize(
    ("problem", "pty"),
    [(errno.ESTALE, ""), (errno.ENOTCONN, "pty"), (errno.ETIMEDOUT, ""), (errno.EUCLEAN, "")],
)
def test_a_file_system_that_is_away_for_a_while_costs_no_outcome(tmp_path, problem, pty):
    """As NFS or FUSE over a restart of their server: whatever the error is, it may pass."""
    assert end_of_a_run(tmp_path, problem, pty=pty) == (3, 50)


@pytest.mark.parametrize("problem", [errno.EINVAL, errno.ENOTSUP])
def test_a_file_system_that_keeps_no_folder_on_disk_is_enough(tmp_path, problem):
    """Shared folders of virtual machines refuse an fsync of a folder, but not of a file."""
    assert end_of_a_run(tmp_path, problem, folders="folders") == (3, 50)


def test_a_shim_that_can_open_nothing_takes_no_child_for_gone(shims, tmp_path):
    """Who cannot list the children of a process has not seen that it has none."""
    first, gate = tmp_path / "first", tmp_path / "gate"
    waiting = "until [ -e {} ]; do sleep 0.02; done"
    filter_ = f"({waiting.format(gate)}; seq 50) &"
    script = f"{filter_} {waiting.format(first)}; exit 3"
    directory = shims.start("bash", "-c", script, linger=60)
    shim = shims.shims[directory]
    wait_until(lambda: begun(directory))
    pid, (_, hard) = directory.pid(), resource.prlimit(shim, resource.RLIMIT_NOFILE)
    resource.prlimit(shim, resource.RLIMIT_NOFILE, (3, hard))
    first.touch()
    wait_until(lambda: not Path(f"/proc/{pid}").exists())
    wait_until(lambda: sleeps(shim))
    resource.prlimit(shim, resource.RLIMIT_NOFILE, (hard, hard))
    gate.touch()
    told = shims.ended(directory)
    assert (told["code"], told["lingered"] > 0) == (3, True)
    assert directory.stdout.read_text().count("\n") == 50


def sleeps(pid):
    """Whether a process waits in poll, or for a time."""
    words = Path(f"/proc/{pid}/wchan").read_text()
    return "poll" in words or "nanosleep" in words
