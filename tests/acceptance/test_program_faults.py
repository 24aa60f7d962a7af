"""What programs survive, and what is known of them afterwards: kill -9, floods, full disks."""

import json
import os
import signal
import subprocess
import sys
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from dama.embedded.binaries import find_binaries
from dama.programs.process import process_start
from tests.acceptance.programs import (
    CODES,
    COMMANDS,
    DAMA,
    TICKS_OF_PSQL,
    Project,
    assert_whole,
    needs_node,
)
from tests.integration.programs import begun, wait_until

MIB = 1024 * 1024


# Many processes, on a machine that may have others: each wait has its own limit.
pytestmark = pytest.mark.timeout(300)


@pytest.fixture
def project(tmp_path, database_url, forked):
    """Programs and workers; none is left behind."""
    project = Project(tmp_path, database_url, forked)
    yield project
    project.close()


@pytest.fixture
def psql(project, server):
    """Declare programs of psql."""

    def declare(name, script, **settings):
        file = project.folder / f"{name}.sql"
        file.write_text(script)
        url = project.environ["DAMA_DATABASE_URL"]
        project.declare(name, str(find_binaries() / "psql"), "-XqAtf", str(file), url, **settings)

    return declare


def peak(pid):
    """The most memory that a process has had, in bytes."""
    status = Path(f"/proc/{pid}/status").read_text()
    (line,) = [line for line in status.splitlines() if line.startswith("VmHWM")]
    return int(line.split()[1]) * 1024


@needs_node
@pytest.mark.parametrize("shims_die", [False, True], ids=["worker", "worker and shims"])
def test_twenty_programs_go_on_when_all_around_them_is_killed(project, psql, shims_die):
    """In four languages, adopted by a worker with another version of the project.

    With their shims their exit codes are lost, which is said; all that they told is not.
    """
    project.database.execute("CREATE TABLE gate ()")
    psql("psql", TICKS_OF_PSQL)
    names = [*COMMANDS, "psql"]
    contexts = {(name, i): project.enqueue(name) for name in names for i in range(5)}
    project.worker()
    directories = {key: project.directory(context) for key, context in contexts.items()}
    wait_until(lambda: all(len(project.ticks(c)) > 3 for c in contexts.values()), "ticks")
    pids = {key: directory.pid() for key, directory in directories.items()}
    assert all(pids.values())
    project.kill_worker()
    if shims_die:
        for directory in directories.values():
            os.kill(directory.shim(), signal.SIGKILL)
    counted = {key: len(project.ticks(context)) for key, context in contexts.items()}

    project.declared = {name: ["false"] for name in project.declared}  # a deploy
    project.write()
    project.worker()
    wait_until(
        lambda: all(len(project.ticks(c)) > counted[k] + 3 for k, c in contexts.items()), "ticks"
    )
    assert {key: directory.pid() for key, directory in directories.items()} == pids
    project.open_gate()
    wait_until(
        lambda: all(project.types(c)[-1] in ("ERROR", "FINAL") for c in contexts.values()), "ends"
    )
    for (name, number), context in contexts.items():
        is_done = name == "psql" and not shims_die
        ends = "FINAL" if is_done else "ERROR"
        assert project.types(context) == ["INITIAL", "STARTED", "ADOPTED", ends]
        _, payload, _ = project.events(context)[-1]
        if name == "psql":
            ticks = project.ticks(context)
            assert ticks == list(range(1, len(ticks) + 1))
        elif shims_die:
            assert payload["code"] == "PROGRAM_LOST"
        else:
            assert_whole(project, context, directories[name, number], CODES[name])


def test_a_live_worker_tells_that_a_shim_was_killed(project):
    """The program continues, no second one is started, and cancelling works as usual."""
    context = project.enqueue("bash")
    project.worker()
    directory = project.directory(context)
    wait_until(lambda: project.ticks(context))
    pid = directory.pid()
    os.kill(directory.shim(), signal.SIGKILL)
    wait_until(lambda: "WARN" in project.types(context))
    assert directory.pid() == pid
    counted = len(project.ticks(context))
    wait_until(lambda: len(project.ticks(context)) > counted)
    project.dama("cancel", str(context))
    wait_until(lambda: process_start(pid) is None)
    assert project.types(context) == ["INITIAL", "STARTED", "WARN", "CANCELLED"]


def test_the_time_out_of_a_program_holds_without_its_shim(project):
    script = """trap 'echo "{\\"type\\": \\"last word\\"}" >> $DAMA_EVENTS; exit 1' TERM
        while :; do sleep 0.05; done"""
    project.declare("late", "bash", "-c", script, timeout=2)
    context = project.enqueue("late")
    project.worker()
    directory = project.directory(context)
    pid = wait_for_pid(directory)
    os.kill(directory.shim(), signal.SIGKILL)
    wait_until(lambda: project.types(context)[-1] == "ERROR")
    assert "timeout" in project.events(context)[-1][1]["message"]
    assert "last word" in project.types(context)
    assert process_start(pid) is None


def wait_for_pid(directory):
    """The program's, when it has begun."""
    wait_until(lambda: begun(directory))
    return directory.pid()


def test_after_a_reboot_a_run_is_lost_and_its_retries_decide(project):
    """Whoever has its pid now is somebody else, as the id of the boot tells."""
    project.declare("long", "sleep", "600", retries=1, backoff=0.01)
    context = project.enqueue("long")
    project.worker()
    directory = project.directory(context)
    pid = wait_for_pid(directory)
    wait_until(lambda: "STARTED" in project.types(context))
    project.kill_worker()
    os.kill(directory.shim(), signal.SIGKILL)
    known = json.loads((directory.path / "pid.json").read_text())
    directory.write("pid.json", known | {"boot_id": "another"})
    project.worker()
    wait_until(lambda: project.types(context).count("STARTED") == 2)
    types = project.types(context)
    assert types[:5] == ["INITIAL", "STARTED", "LOST", "RETRYING", "STARTED"]
    again = project.directory(context)
    assert wait_for_pid(again) != pid
    project.dama("cancel", str(context))
    with suppress(ProcessLookupError):  # it is ended as well when it is found by its environment
        os.kill(pid, signal.SIGKILL)


def test_cancelling_ends_the_sql_of_a_program(project, psql):
    """Also when a later worker has adopted it."""
    psql("report", "SELECT pg_sleep(600);")
    context = project.enqueue("report")
    project.worker()
    running = "SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE %s"

    def backends():
        name = [f"dama:{context}:%"]
        return project.database.execute(running, name).fetchone()[0]

    wait_until(backends)
    project.kill_worker()
    project.worker()
    wait_until(lambda: "ADOPTED" in project.types(context))
    project.dama("cancel", str(context))
    wait_until(lambda: backends() == 0)
    wait_until(lambda: project.directory(context).pid() is None)


def test_a_log_of_any_size_takes_little_memory_and_no_more_disk_than_its_cap(project):
    """Without an end of line, at the speed of the disk."""
    cap, size = 16 * MIB, 200 * MIB
    script = f"head -c {size} /dev/zero | tr '\\0' 'x'; sleep 1.5; echo; echo end"
    project.declare("loud", "bash", "-c", script, log_cap=cap)
    context = project.enqueue("loud")
    worker = project.worker()
    directory = project.directory(context)
    shim = wait_for_pid(directory) and directory.shim()
    wait_until(lambda: directory.stdout.stat().st_size >= size)
    peaks = peak(worker.pid), peak(shim)
    wait_until(lambda: project.types(context)[-1] == "FINAL")
    assert peaks[0] < 150 * MIB
    assert peaks[1] < 16 * MIB
    assert directory.stdout.stat().st_blocks * 512 < cap + 4 * MIB
    assert project.dama("logs", str(context), "--tail", "1").stdout == "end\n"


FLOOD = """
import os, sys
text = "".join(
    '::dama:: {"type": ":PROGRESS", "payload": {"done": %d, "total": 300000}}\\n' % i
    for i in range(1, 300001)
)
sys.stdout.write(text)
"""


def test_a_flood_of_progress_becomes_an_event_a_second(project):
    """Hundred thousand lines a second; the last one is written, and others are not held up."""
    project.declare("flood", sys.executable, "-c", FLOOD)
    project.declare("quiet", "bash", "-c", "echo '{}' > $DAMA_RESULT")
    flood, quiet = project.enqueue("flood"), project.enqueue("quiet")
    worker = project.worker()
    wait_until(lambda: project.types(flood)[-1] == "FINAL" and project.types(quiet)[-1] == "FINAL")
    told = [p for t, p, _ in project.events(flood) if t.endswith(":PROGRESS")]
    assert told[-1] == {"done": 300000, "total": 300000}
    assert len(told) < 30
    assert peak(worker.pid) < 150 * MIB


RUBBISH = r"""
import os, sys
out = sys.stdout.buffer
out.write(os.urandom(3_000_000).replace(b"::dama::", b"") + b"\n")
out.write(b"y" * 5_000_000 + b"\n")
out.write(b'::dama:: {"type": "big", "payload": "' + b"z" * 10_000_000 + b'"}\n')
out.write(b'::dama:: {"type": "broken", "payload": "\xff\xfe"}\n')
out.write(b'::dama:: {"type": "after"}')
"""


def test_rubbish_hurts_nothing(project):
    """Binary output, lines without end, an event of 10 MB, invalid UTF-8, no last newline."""
    project.declare("rubbish", sys.executable, "-c", RUBBISH)
    context = project.enqueue("rubbish")
    worker = project.worker()
    wait_until(lambda: project.types(context)[-1] == "FINAL")
    assert project.types(context) == ["INITIAL", "STARTED", "WARN", "broken", "after", "FINAL"]
    (warning,) = [p for t, p, _ in project.events(context) if t.endswith(":WARN")]
    assert "4,194,304 bytes" in warning["message"]
    assert peak(worker.pid) < 150 * MIB


@pytest.mark.parametrize(("soft", "hard"), [(40, 4096), (64, 64)])
def test_sixty_programs_at_once_need_no_more_descriptors_than_a_worker_may_have(
    project, soft, hard
):
    """It raises its own limit as far as it may; beyond that a start waits for a descriptor."""
    project.declare("limited", "bash", "-c", "ulimit -Sn > $DAMA_RESULT; sleep 1")
    start = {"task": "p.limited", "event": {"type": "p.limited:INITIAL", "payload": {}}}
    project.database.execute(
        "SELECT _data_manager_admin.start_contexts(%s)", [json.dumps([start] * 60)]
    )
    limits = f"ulimit -Sn {soft} && ulimit -Hn {hard} && exec {DAMA} worker --slots 60"
    process = subprocess.Popen(
        ["bash", "-c", limits],
        cwd=project.folder,
        env=project.environ,
        stderr=subprocess.DEVNULL,
    )
    project.workers.append(process)
    ended = "SELECT status, count(*) FROM _data_manager_admin.etl_context GROUP BY 1"
    wait_until(lambda: project.database.execute(ended).fetchall() == [("DONE", 60)], patience=120)
    results = "SELECT DISTINCT payload FROM _data_manager_admin.event_store_prototype"
    found = project.database.execute(f"{results} WHERE type = 'p.limited:FINAL'").fetchall()
    assert found == [(soft,)]


@contextmanager
def small_disk(folder):
    """A file system of 8 MiB."""
    folder.mkdir(parents=True)
    subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", folder], check=True, capture_output=True
    )
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", folder], check=True)


def can_mount(folder):
    """Whether a test may."""
    try:
        with small_disk(folder):
            return True
    except (OSError, subprocess.CalledProcessError):
        return False


def test_a_full_disk_hurts_only_who_needs_it(project, tmp_path):
    """The shim waits with its last word until there is space, so nothing of it is lost."""
    if not can_mount(tmp_path / "probe"):
        pytest.skip("A FULL DISK IS NOT TESTED: this user may not mount one")
    fill = "head -c 20000000 /dev/zero > $DAMA_WORKDIR/big; echo full >> $DAMA_EVENTS; exit 7"
    project.declare("full", "bash", "-c", fill)
    project.declare("small", "bash", "-c", "exit 0")
    with small_disk(Path(os.environ["DAMA_HOME"], "runs")):
        context = project.enqueue("full")
        worker = project.worker()
        directory = project.directory(context)
        wait_for_pid(directory)
        wait_until(lambda: directory.pid() is None)
        beside = project.enqueue("small")
        wait_until(lambda: project.types(beside)[-1] == "ERROR")
        assert "No space left" in project.events(beside)[-1][1]["message"]
        # The block that it had kept behind a log may be room enough for it: then it is all there.
        if project.types(context) != ["INITIAL", "STARTED"]:
            assert project.events(context)[-1][1]["data"]["exit_code"] == 7
        assert worker.poll() is None

        (directory.path.parents[1] / "work" / str(context) / "big").unlink()
        wait_until(lambda: project.types(context)[-1] == "ERROR")
        assert project.events(context)[-1][1]["data"]["exit_code"] == 7
        again = project.enqueue("small")
        wait_until(lambda: project.types(again)[-1] == "FINAL")
