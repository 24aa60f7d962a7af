"""Programs on hosts that are out of the ordinary: namespaces, clocks, suspended, odd disks."""

import json
import os
import signal
import subprocess
from pathlib import Path

import pytest

from dama.programs.process import process_start
from tests.acceptance.programs import DAMA, Project, assert_whole
from tests.integration.programs import begun, wait_until

pytestmark = pytest.mark.timeout(300)

EXPIRE = "UPDATE _data_manager_admin.worker SET lease_until = clock_timestamp() - interval '1 s'"
# What a file system does not have, and a clock that somebody sets.
ODD = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>
int flock(int fd, int operation) {
    static int (*real)(int, int);
    if (!real) real = dlsym(RTLD_NEXT, "flock");
    if (!getenv("NO_FLOCK")) return real(fd, operation);
    errno = ENOLCK; return -1;
}
int linkat(int a, const char *b, int c, const char *d, int e) {
    static int (*real)(int, const char *, int, const char *, int);
    if (!real) real = dlsym(RTLD_NEXT, "linkat");
    if (!getenv("NO_LINKS")) return real(a, b, c, d, e);
    errno = EPERM; return -1;
}
int link(const char *from, const char *to) { return linkat(-100, from, -100, to, 0); }
int clock_gettime(clockid_t clock, struct timespec *now) {
    static int (*real)(clockid_t, struct timespec *);
    if (!real) real = dlsym(RTLD_NEXT, "clock_gettime");
    int result = real(clock, now);
    const char *file = getenv("CLOCK_STEP");
    if (clock == CLOCK_REALTIME && file) {
        FILE *step = fopen(file, "r"); long seconds = 0;
        if (step) { if (fscanf(step, "%ld", &seconds) == 1) now->tv_sec += seconds; fclose(step); }
    }
    return result;
}
"""


@pytest.fixture
def project(tmp_path, database_url, forked):
    project = Project(tmp_path, database_url, forked)
    yield project
    for worker in project.workers:
        worker.send_signal(signal.SIGCONT)
    project.close()


@pytest.fixture(scope="session")
def odd(tmp_path_factory):
    """A library that takes something away from who loads it."""
    folder = tmp_path_factory.mktemp("odd")
    (folder / "odd.c").write_text(ODD)
    library = folder / "odd.so"
    made = subprocess.run(
        ["cc", "-shared", "-fPIC", "-o", library, folder / "odd.c", "-ldl"], check=False
    )
    if made.returncode:
        pytest.skip("ODD HOSTS ARE NOT TESTED: there is no C compiler")
    return str(library)


def may_unshare(*namespaces):
    """Whether this user may have namespaces of their own."""
    return subprocess.run(["unshare", *namespaces, "true"], check=False).returncode == 0


def pause(*pids):
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)


def resume(*pids):
    for pid in pids:
        os.kill(pid, signal.SIGCONT)


def running(project, context):
    """The files of a program that has told something."""
    directory = project.directory(context)
    wait_until(lambda: begun(directory) and project.ticks(context))
    return directory


def test_a_worker_and_a_shim_that_sleep_longer_than_their_lease_change_nothing(project):
    """The next worker adopts the program; the first wakes up, and takes and ends nothing."""
    context = project.enqueue("bash")
    first = project.worker()
    directory = running(project, context)
    pid, shim = directory.pid(), directory.shim()
    pause(first.pid, shim)
    project.database.execute(EXPIRE)
    project.worker()
    wait_until(lambda: "ADOPTED" in project.types(context))
    resume(first.pid, shim)
    counted = len(project.ticks(context))
    wait_until(lambda: len(project.ticks(context)) > counted + 20)
    assert directory.pid() == pid
    project.open_gate()
    wait_until(lambda: project.types(context)[-1] == "ERROR")
    assert_whole(project, context, directory, 3)
    assert project.types(context).count("STARTED") == 1


def test_a_host_that_was_suspended_goes_on_where_it_was(project):
    """All of it at once: the worker finds its lease gone, and has the program again."""
    context = project.enqueue("bash")
    worker = project.worker()
    directory = running(project, context)
    everything = (worker.pid, directory.shim(), directory.pid())
    pause(*everything)
    project.database.execute(EXPIRE)
    resume(*everything)
    counted = len(project.ticks(context))
    wait_until(lambda: len(project.ticks(context)) > counted + 20)
    project.open_gate()
    wait_until(lambda: project.types(context)[-1] == "ERROR")
    assert_whole(project, context, directory, 3)
    assert project.types(context).count("STARTED") == 1


def test_a_clock_that_is_set_ends_no_program_and_no_wait(project, odd, tmp_path):
    """A day forward and two back, while a program with a timeout runs and another one retries."""
    step = tmp_path / "step"
    step.write_text("0")
    retry = "test $DAMA_EPOCH -ge 3"
    project.declare("again", "bash", "-c", retry, retries=5, backoff=0.5)
    project.declare("timed", "bash", "-c", f"until [ -e {project.gate} ]; do sleep 0.05; done",
                    timeout=600)  # fmt: skip
    project.environ |= {"LD_PRELOAD": odd, "CLOCK_STEP": str(step)}
    timed, again = project.enqueue("timed"), project.enqueue("again")
    project.worker()
    directory = project.directory(timed)
    wait_until(lambda: begun(directory))
    for seconds in ("86400", "-172800"):
        step.write_text(seconds)
        wait_until(lambda c=again: project.types(c)[-1] == "FINAL")
        again = project.enqueue("again")
    project.kill_worker()
    os.kill(directory.shim(), signal.SIGKILL)  # its worker keeps the time from now on
    step.write_text("864000")
    project.worker()
    wait_until(lambda: "ADOPTED" in project.types(timed))
    wait_until(lambda: project.types(again)[-1] == "FINAL")
    assert directory.pid() is not None
    project.open_gate()
    wait_until(lambda: project.types(timed)[-1] == "ERROR")
    assert project.events(timed)[-1][1]["code"] == "PROGRAM_LOST"


def test_a_file_system_without_flock_runs_no_program_and_says_why(project, odd):
    project.declare("plain", "true")
    project.environ |= {"LD_PRELOAD": odd, "NO_FLOCK": "1"}
    context = project.enqueue("plain")
    project.worker()
    wait_until(lambda: project.types(context)[-1] == "ERROR")
    error = project.events(context)[-1][1]
    assert "flock" in error["message"]
    assert "DAMA_HOME needs a file system with locks" in error["message"]
    assert not list(Path(os.environ["DAMA_HOME"]).glob("runs/*/open/*"))


def test_a_file_system_without_hard_links_is_enough(project, odd):
    project.declare("plain", "bash", "-c", "echo 7 > $DAMA_RESULT")
    project.environ |= {"LD_PRELOAD": odd, "NO_LINKS": "1"}
    context = project.enqueue("plain")
    project.worker()
    wait_until(lambda: project.types(context)[-1] == "FINAL")
    assert project.events(context)[-1][1] == 7
    assert (Path(os.environ["DAMA_HOME"]) / "place").read_text()


def test_in_a_home_that_cannot_be_written_a_program_says_so_and_the_worker_lives(project):
    home = Path(os.environ["DAMA_HOME"])
    home.mkdir(parents=True, exist_ok=True)
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "ro", "t", home], check=False).returncode:
        pytest.skip("A READ-ONLY HOME IS NOT TESTED: this user may not mount one")
    project.declare("plain", "true")
    try:
        context = project.enqueue("plain")
        worker = project.worker()
        wait_until(lambda: project.types(context)[-1] == "ERROR")
        message = project.events(context)[-1][1]["message"]
        assert "Read-only" in message
        assert str(home) in message
        assert worker.poll() is None
        subprocess.run(["mount", "-o", "remount,rw", home], check=True)
        again = project.enqueue("plain")
        wait_until(lambda: project.types(again)[-1] == "FINAL")
    finally:
        project.close()
        subprocess.run(["umount", "-l", home], check=True)


def test_a_worker_in_a_user_namespace_hands_its_programs_on(project):
    """Root in a namespace of its own, as in a container without root; the next one is outside."""
    if not may_unshare("-Ur"):
        pytest.skip("USER NAMESPACES ARE NOT TESTED: this user may not have one")
    context = project.enqueue("bash")
    project.worker("unshare", "-Ur")
    directory = running(project, context)
    pid = directory.pid()
    project.kill_worker()
    project.worker()
    wait_until(lambda: "ADOPTED" in project.types(context))
    project.open_gate()
    wait_until(lambda: project.types(context)[-1] == "ERROR")
    assert_whole(project, context, directory, 3)
    assert process_start(pid) is None


def test_workers_in_two_pid_namespaces_of_one_home_leave_each_other_alone(project):
    """Containers of one service in a rolling start: each program runs once, whoever has it."""
    if not may_unshare("-pf", "--mount-proc"):
        pytest.skip("PID NAMESPACES ARE NOT TESTED: this user may not have one")
    starts = project.folder / "starts"
    line = f"echo $DAMA_CONTEXT_ID >> {starts}; until [ -e {project.gate} ]; do sleep 0.05; done"
    project.declare("once", "bash", "-c", line)
    contexts = [project.enqueue("once") for _ in range(6)]
    project.worker("unshare", "-pf", "--kill-child", "--mount-proc", slots=3)
    wait_until(lambda: starts.exists() and starts.read_text().count("\n") == 3)
    project.worker("unshare", "-pf", "--kill-child", "--mount-proc", slots=3)
    project.worker(slots=3)
    wait_until(lambda: starts.read_text().count("\n") == 6)
    project.open_gate()
    wait_until(lambda: all(project.types(c)[-1] == "FINAL" for c in contexts))
    assert sorted(map(int, starts.read_text().split())) == sorted(contexts)
    assert all(project.types(c).count("STARTED") == 1 for c in contexts)


def test_the_end_of_a_pid_namespace_ends_its_programs_and_another_worker_runs_them(project):
    """A container is removed: the kernel leaves nothing of it, and no pid of it is believed."""
    if not may_unshare("-pf", "--mount-proc"):
        pytest.skip("PID NAMESPACES ARE NOT TESTED: this user may not have one")
    line = f"until [ -e {project.gate} ]; do sleep 0.05; done"
    project.declare("moved", "bash", "-c", line, retries=1, backoff=0.01)
    context = project.enqueue("moved")
    project.worker("unshare", "-pf", "--kill-child", "--mount-proc")
    directory = project.directory(context)
    wait_until(lambda: (directory.path / "pid.json").exists() and directory.is_held())
    wait_until(lambda: "STARTED" in project.types(context))
    project.kill_worker()
    wait_until(lambda: not directory.is_held())
    project.database.execute(EXPIRE)  # else it takes its lease until nobody holds the run
    project.worker()
    project.open_gate()
    wait_until(lambda: project.types(context)[-1] == "FINAL")
    assert project.types(context) == [
        "INITIAL", "STARTED", "LOST", "RETRYING", "STARTED", "FINAL",
    ]  # fmt: skip


def test_a_log_is_followed_while_it_is_trimmed(project):
    """What the cap takes before it was read is said; no line is cut, twice or out of order."""
    cap = 1 << 20
    script = (
        f"seq -f 'line %08.0f' 600000; until [ -e {project.gate} ]; do sleep 0.05; done; echo end"
    )
    project.declare("loud", "bash", "-c", script, log_cap=cap)
    context = project.enqueue("loud")
    project.worker()
    directory = project.directory(context)
    wait_until(lambda: begun(directory))
    following = subprocess.Popen(
        [DAMA, "logs", str(context), "-f"], cwd=project.folder, env=project.environ,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    wait_until(lambda: directory.stdout.stat().st_size >= 600_000 * 14)
    wait_until(lambda: directory.stdout.stat().st_blocks * 512 < 3 * cap)
    project.open_gate()
    output, errors = following.communicate(timeout=120)
    assert following.returncode == 0, errors
    lines = output.splitlines()
    numbers = [int(line.split()[1]) for line in lines if line.startswith("line ")]
    assert "\0" not in output
    assert numbers == sorted(set(numbers))
    assert numbers[-1] == 600_000
    assert len(numbers) == len(lines) - 1, "there are half lines"
    assert lines[-1] == "end"
    assert len(numbers) == 600_000 or "bytes" in errors


def test_the_pause_before_a_further_attempt_outlives_its_worker(project):
    """Nobody makes an attempt twice: who was killed before it queued the next is repeated."""
    count = project.folder / "count"
    project.declare("again", "bash", "-c", f"echo >> {count}; exit 75", retries=2, backoff=1.5)
    context = project.enqueue("again")
    for attempts in (1, 2):
        project.worker()
        wait_until(lambda a=attempts: project.types(context).count("RETRYING") >= a)
        project.kill_worker()
    project.worker()
    wait_until(lambda: project.types(context)[-1] == "ERROR")
    assert count.read_text() == "\n" * 3
    assert project.types(context).count("STARTED") == 3


def test_an_attempt_that_failed_while_no_worker_was_there_is_the_one_that_counts(project):
    count = project.folder / "count"
    wait = f"until [ -e {project.gate} ]; do sleep 0.05; done"
    project.declare("again", "bash", "-c", f"echo >> {count}; {wait}; exit 75", retries=1,
                    backoff=0.01)  # fmt: skip
    context = project.enqueue("again")
    project.worker()
    directory = project.directory(context)
    wait_until(lambda: count.exists() and "STARTED" in project.types(context))
    project.kill_worker()
    project.open_gate()
    wait_until(directory.exit)
    project.worker()
    wait_until(lambda: project.types(context)[-1] == "ERROR")
    assert count.read_text() == "\n" * 2
    assert project.types(context) == [
        "INITIAL", "STARTED", "ADOPTED", "RETRYING", "STARTED", "ERROR",
    ]  # fmt: skip


SERVICE = """
from dama import Service, Task
import os, time
s = Service("s")

@s.task(isolation="process")
def work(task: Task, gate: str) -> str:
    task.step("one", lambda: VERSION)
    while not os.path.exists(gate):
        time.sleep(0.05)
    import json.scanner
    return VERSION

VERSION = "old"
"""


@pytest.mark.parametrize("release", ["changed", "broken", "gone"])
def test_an_isolated_run_ends_with_the_code_that_it_began_with(project, release):
    """A new release is there meanwhile: with another body, that cannot be loaded, or without it."""
    (project.folder / "s.py").write_text(SERVICE)
    (project.folder / "dama.toml").write_text('services = ["s"]\n')
    gate = str(project.gate)
    told = project.dama("run", "--enqueue", "--json", "s.work", "--gate", gate)
    context = json.loads(told.stdout)["context_id"]
    project.worker()
    directory = project.directory(context)
    wait_until(lambda: any(t.endswith("/one:DONE") for t, _, _ in project.events(context)))
    pid = directory.pid()
    project.kill_worker()
    project.database.execute(EXPIRE)  # else it takes its lease until nobody holds the run
    if release == "changed":
        (project.folder / "s.py").write_text(SERVICE.replace('"old"', '"new"'))
    elif release == "broken":
        (project.folder / "s.py").write_text(
            SERVICE + "\n@s.task\nasync def x(t): ...\nimport gone"
        )
    else:
        (project.folder / "s.py").write_text('from dama import Service\ns = Service("s")\n')
    project.open_gate()
    wait_until(lambda: process_start(pid) is None)
    if release == "broken":  # this worker does not start; the next release does
        assert project.worker().wait() != 0
        (project.folder / "s.py").write_text(SERVICE.replace('"old"', '"new"'))
    project.worker()
    if release == "gone":  # half a minute of its grace passes
        early = "UPDATE _data_manager_admin.run_queue SET host_until = now() WHERE state = 'queued'"
        wait_until(lambda: project.database.execute(early).rowcount)
    wait_until(lambda: project.types(context)[-1] == "FINAL")
    assert project.events(context)[-1][1] == "old"
    assert project.types(context).count("STARTED") == 1
