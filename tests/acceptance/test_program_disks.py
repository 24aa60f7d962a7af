"""Programs whose disk fails, fills up, is mounted again or is cleaned while they run."""

import json
import os
import shutil
import subprocess
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.acceptance.programs import CODES, Project, assert_whole
from tests.acceptance.test_program_faults import can_mount, small_disk
from tests.acceptance.test_program_places import may_unshare, running
from tests.integration.program_kinds import KINDS
from tests.integration.programs import begun, wait_until

pytestmark = pytest.mark.timeout(300)


@pytest.fixture
def project(tmp_path, database_url, forked):
    project = Project(tmp_path, database_url, forked)
    yield project
    project.close()


@pytest.fixture
def runs():
    """Where the files of runs are; another file system may be there."""
    return Path(os.environ["DAMA_HOME"], "runs")


def run(*command):
    """Run a command as root; whether it could."""
    return subprocess.run(command, check=False, capture_output=True).returncode == 0


@contextmanager
def mounted(folder, *words):
    """Something at a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    if not run("mount", *words, folder):
        pytest.skip(f"NOT TESTED: this user may not mount {words}")
    try:
        yield
    finally:
        run("umount", "-l", folder)


@pytest.mark.parametrize("is_restored", [True, False], ids=["copy", "empty"])
def test_a_disk_that_failed_and_is_replaced_has_the_end_of_its_programs(
    project, runs, tmp_path, is_restored
):
    """After an error the kernel lets nobody write any more; somebody mounts another disk.

    Another, since the kernel keeps the state of the first as long as a shim is in it.
    """
    image, other = tmp_path / "image", tmp_path / "other"
    for each in (image, other):
        with each.open("wb") as file:
            file.truncate(16 << 20)
        if not run("mkfs.ext4", "-q", "-O", "^has_journal", each):
            pytest.skip("A FAILED DISK IS NOT TESTED: there is no mkfs.ext4")
    wait = f"until [ -e {project.gate} ]; do sleep 0.05; done"
    line = """echo '::dama:: {"type": "seen/one"}'"""
    project.declare("failing", "bash", "-c", f"{line}; {wait}; exit 3", retries=0)
    with mounted(runs, "-o", "loop,errors=remount-ro", str(image)):
        device = Path(subprocess.check_output(["losetup", "-j", image]).decode().split(":")[0])
        fail = Path("/sys/fs/ext4", device.name, "trigger_fs_error")
        if not os.access(fail, os.W_OK):
            pytest.skip("A FAILED DISK IS NOT TESTED: this user may not let it fail")
        (runs / "lost+found").rmdir()
        context = project.enqueue("failing")
        worker = project.worker()
        directory = project.directory(context)
        wait_until(lambda: any(t == "seen/one" for t, _, _ in project.events(context)))
        pid, shim = directory.pid(), directory.shim()
        os.sync()
        fail.write_text("1")
        project.open_gate()
        wait_until(lambda: not Path(f"/proc/{pid}").exists())
        assert (directory.shim(), worker.poll()) == (shim, None)
        if is_restored:
            shutil.copy(image, other)
        run("umount", "-l", runs)
        with mounted(runs, "-o", "loop", str(other)):
            wait_until(lambda: project.types(context)[-1] == "ERROR")
            assert project.events(context)[-1][1]["data"]["exit_code"] == 3
            assert project.types(context)[:2] == ["INITIAL", "STARTED"]
            assert [t for t, _, _ in project.events(context)].count("seen/one") == 1
            assert "seen/one" in directory.stdout.read_text()


def test_on_an_overlay_programs_are_adopted_and_whole(project, runs, tmp_path):
    """As in a container without a volume: files of the image are copied when they are written."""
    for name in ("lower", "upper", "work"):
        (tmp_path / name).mkdir()
    layers = f"lowerdir={tmp_path}/lower,upperdir={tmp_path}/upper,workdir={tmp_path}/work"
    with mounted(runs, "-t", "overlay", "overlay", "-o", layers):
        contexts = {name: project.enqueue(name) for name in ("bash", "python")}
        project.worker()
        directories = {name: running(project, context) for name, context in contexts.items()}
        project.kill_worker()
        project.worker()
        wait_until(lambda: all("ADOPTED" in project.types(c) for c in contexts.values()))
        project.open_gate()
        for name, context in contexts.items():
            wait_until(lambda c=context: project.types(c)[-1] == "ERROR")
            assert_whole(project, context, directories[name], CODES[name])
        project.close()


ISOLATED = """
import os, time
from pathlib import Path
from dama import Service, Task
s = Service("s")

@s.task(isolation="process", retries=0)
def work(task: Task, gate: str) -> str:
    while not os.path.exists(gate):
        time.sleep(0.05)
    big = Path(os.environ["DAMA_WORKDIR"], "big")
    try:
        with big.open("wb", buffering=0) as file:
            while True:
                file.write(bytes(1 << 16))
    except OSError:
        pass
    return "x" * 50000
"""


def test_the_outcome_of_an_isolated_run_waits_for_room_on_the_disk(project, runs, tmp_path):
    if not can_mount(tmp_path / "probe"):
        pytest.skip("A FULL DISK IS NOT TESTED: this user may not mount one")
    (project.folder / "s.py").write_text(ISOLATED)
    (project.folder / "dama.toml").write_text('services = ["s"]\n')
    with small_disk(runs):
        told = project.dama("run", "--enqueue", "--json", "s.work", "--gate", str(project.gate))
        context = json.loads(told.stdout)["context_id"]
        project.worker()
        directory = project.directory(context)
        wait_until(lambda: begun(directory))
        project.open_gate()
        big = directory.path.parents[1] / "work" / str(context) / "big"
        wait_until(lambda: os.statvfs(runs).f_bavail == 0)
        assert project.types(context)[-1] == "STARTED"
        big.unlink()
        wait_until(lambda: project.types(context)[-1] in ("FINAL", "ERROR"))
        assert project.events(context)[-1][1] == "x" * 50000
        project.close()


def test_workers_without_root_in_two_pid_namespaces_run_each_program_once(project):
    """Containers of a user who is root only inside, one after the other, on one home."""
    inside = ("unshare", "-Urpf", "--kill-child", "--mount-proc")
    if not may_unshare(*inside[1:]):
        pytest.skip("USER NAMESPACES ARE NOT TESTED: this user may not have one")
    starts = project.folder / "starts"
    wait = f"echo $DAMA_CONTEXT_ID >> {starts}; until [ -e {project.gate} ]; do sleep 0.05; done"
    project.declare("once", "bash", "-c", wait)
    contexts = [project.enqueue("once") for _ in range(4)]
    project.worker(*inside, slots=2)
    wait_until(lambda: starts.exists() and starts.read_text().count("\n") == 2)
    project.worker(*inside, slots=4)
    wait_until(lambda: starts.read_text().count("\n") == 4)
    project.open_gate()
    wait_until(lambda: all(project.types(c)[-1] == "FINAL" for c in contexts))
    assert sorted(map(int, starts.read_text().split())) == contexts
    assert all(project.types(c) == ["INITIAL", "STARTED", "FINAL"] for c in contexts)


def test_cleaning_all_the_time_takes_nothing_from_programs_that_run(project, runs):
    """With nothing to be kept, beside programs of every kind and workers that come and go."""
    names = list(KINDS)
    for name in names:
        kind = KINDS[name]
        project.declare(name, "bash", "-c", kind.script, pty=kind.pty, grace=0.2, linger=1.5)
    text = (project.folder / "dama.toml").read_text()
    (project.folder / "dama.toml").write_text(f'[keep]\nlogs = "0s"\nwork = "0s"\n\n{text}')
    contexts = {name: project.enqueue(name) for name in names}
    project.worker()

    def told(suffix):
        return sum(project.types(context).count(suffix) for context in contexts.values())

    taken = 0
    while told("FINAL") + told("ERROR") < len(names):
        project.dama("clean")
        # Each worker has the time that it needs to take runs, however slow the machine is.
        now = told("STARTED") + told("ADOPTED")
        if now > taken and len(project.workers) < 4:
            taken = now
            project.kill_worker()
            project.worker()
    for name, context in contexts.items():
        types = [type_ for type_, _, _ in project.events(context)]
        assert types.count("seen/one") == 1, (name, types)
        assert project.events(context)[-1][2]["program"]["code"] == KINDS[name].code
    wait_until(lambda: not list(runs.glob("*/open/*")))
    project.dama("clean")
    assert [p.name for p in runs.glob("*/*") if p.name.isdigit()] == []
