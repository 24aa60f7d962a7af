"""What somebody may do to the files of a program: nothing blocks, is lost unsaid or runs twice."""

import asyncio
import os
import shutil
import signal

import pytest

from dama.programs.process import members_of, process_start
from dama.programs.run_directory import State
from tests.integration.programs import until
from tests.integration.test_programs import Programs

SOCKET = "python3 -c 'import socket, sys; socket.socket(socket.AF_UNIX).bind(sys.argv[1])'"
FOLDER = 'd=$(dirname "$DAMA_EVENTS")'


@pytest.fixture
async def bench(store, tmp_path):
    """Programs."""
    return Programs(store, tmp_path)


@pytest.mark.parametrize(
    "leave",
    [
        "truncate -s 1T $DAMA_RESULT",
        "echo 7 > $DAMA_RESULT; truncate -s 1T $DAMA_RESULT",
        "ln -s nowhere $DAMA_RESULT",
        "ln -s result $DAMA_RESULT",
        "ln -s /dev/full $DAMA_RESULT",
        "ln -s /proc/self/mem $DAMA_RESULT",
        "cd $(dirname $DAMA_RESULT); " + SOCKET + " result",
        "rmdir $DAMA_ARTIFACTS; mkfifo $DAMA_ARTIFACTS",
        "cd $DAMA_ARTIFACTS; d=aaaaaaaaaaaaaaaa; for i in $(seq 300); do mkdir $d; cd $d; done",
    ],
)
async def test_what_a_program_leaves_is_read_within_bounds_or_named(bench, leave):
    outcome = await bench.ended(await bench.performed(bench.declare("odd", leave)))
    assert outcome.status == "DONE", outcome
    assert "It is in /" in str(outcome.result["left_out"])
    assert "Errno" not in str(outcome.result)


async def test_only_regular_files_are_artifacts_and_no_folder_elsewhere_is_looked_at(bench):
    script = """cd $DAMA_ARTIFACTS; mkfifo fifo; ln -s /dev/zero zero; ln -s / root; ln -s .. up
        truncate -s 1T sparse"""
    context = await bench.performed(bench.declare("odd", script))
    found = [event.payload for event in await bench.events(context, ":ARTIFACT")]
    assert found == [{"path": "sparse", "bytes": 1 << 40}]


@pytest.mark.parametrize(
    "replace",
    ["mkdir $DAMA_EVENTS", "ln -s /dev/zero $DAMA_EVENTS", f"cd {{}}; {SOCKET} events"],
    ids=["folder", "link", "socket"],
)
async def test_events_in_what_is_no_file_are_not_read_and_it_is_said(bench, replace):
    script = "rm $DAMA_EVENTS; " + replace.format("$(dirname $DAMA_EVENTS)")
    context = await bench.performed(bench.declare("odd", script))
    assert (await bench.ended(context)).status == "DONE"
    (warning,) = await bench.events(context, ":WARN")
    assert "not a regular file" in warning.payload["message"]


@pytest.mark.parametrize(
    "away",
    [
        f"{FOLDER}; rm -r $d",
        f"{FOLDER}; rm -r $(dirname $d)",
        f"{FOLDER}; mv $d $d.away",
        f"{FOLDER}; mv $d $d.away; mkdir $d",
        f"{FOLDER}; mv $d $d.away; sleep 0.5; mv $d.away $d",
        f"{FOLDER}; rm $d/stdout",
        f"{FOLDER}; rm $d/*.json $d/lock $d/shim.pyz",
    ],
)
async def test_whatever_happens_to_its_folder_a_program_runs_once_and_to_its_end(bench, away):
    """The exit code, the lines and the events are there, and no second one is started."""
    starts = bench.folder / "starts"
    line = """echo '::dama:: {"type": "seen/last"}'"""
    script = f"echo >> {starts}; echo first; {away}; sleep 0.8; {line}; exit 3"
    context = await bench.performed(bench.declare("once", script, retries=0))
    (error,) = await bench.events(context, ":ERROR")
    assert error.payload["data"]["exit_code"] == 3
    assert starts.read_text() == "\n"
    assert len(await bench.events(context, "seen/last")) == 1
    directory = await bench.directory(context)
    assert directory.stdout.read_text().splitlines()[0] == "first"


async def test_a_program_whose_folder_was_moved_is_found_and_ended(bench):
    """By a worker that never saw the folder, too: the processes know whose they are."""
    script = "echo up; trap '' TERM; sleep 600"
    context = await bench.start(bench.declare("moved", script, grace=0.2))
    async with bench.worker():
        directory = await bench.running(context)
        await until(directory.stdout.read_text)
    pid = directory.pid()
    directory.path.rename(bench.folder / "away")
    assert type(directory)(directory.path).state() is State.HELD
    await bench.store.cancel([context], "enough", {})
    async with bench.worker():
        await until(lambda: process_start(pid) is None)


async def test_a_shim_that_fails_says_why_in_the_error_of_the_run(bench):
    script = f"{FOLDER}; echo 'MemoryError: of the shim' >> $d/shim.log; kill -9 $PPID; exit 3"
    context = await bench.performed(bench.declare("spoilt", script))
    (error,) = await bench.events(context, ":ERROR")
    assert error.payload["code"] == "PROGRAM_LOST"
    assert "MemoryError: of the shim" in error.payload["message"]


async def test_a_process_may_have_any_name(bench):
    """The kernel keeps 15 bytes of it, whatever character they cut in two."""
    name = "x" * 14 + "ü"
    script = f"cp $(command -v sleep) {name}; ./{name} 600 & sleep 0.2; exit 3"
    context = await bench.start(bench.declare("named", script, linger=0.3))
    async with bench.worker():
        assert "exit code 3" in (await bench.ended(context)).error["message"]


async def test_a_stopped_program_is_ended_with_its_tree(bench):
    """SIGSTOP for all of it; TERM and then KILL reach what is stopped."""
    script = "sleep 600 & sleep 600 & echo up; wait; wait"
    context = await bench.start(bench.declare("stopped", script, grace=0.3))
    async with bench.worker():
        directory = await bench.running(context)
        await until(directory.stdout.read_text)
        pid = directory.pid()
        os.killpg(pid, signal.SIGSTOP)
        await bench.store.cancel([context], "enough", {})
        await until(lambda: process_start(pid) is None)
        async with asyncio.timeout(30):
            while directory.exit() is None:  # noqa: ASYNC110 - another process writes it
                await asyncio.sleep(0.01)
    assert directory.exit()["left"] == 0


@pytest.mark.parametrize(
    "replace",
    [
        "mkfifo $d/exit.json",
        "mkdir -p $d/exit.json/x",
        """rm $d/stdout $d/stderr; for name in stdout stderr exit.json shipped.json
            do mkdir -p $d/$name.new/x $d/$name.new.other; done""",
        "mkfifo $d/exit.json.new $d/shipped.json.new",
        "ln -s /dev/full $d/exit.json.new; ln -s /dev/full $d/stdout.new; rm $d/stdout",
        "mkdir -p $d/stdout.other/x; rm $d/stdout; mkdir $d/stdout",
        "ln -s /dev/zero $d/exit.json",
        "truncate -s 1T $d/exit.json",
        "rm $d/stderr; mkfifo $d/stderr",
        "rm $d/stdout $d/stderr; ln -s /dev/zero $d/stdout; ln -s /dev/zero $d/stderr",
        "rm $d/lock; mkdir $d/lock",
        "rm $d/lock; mkfifo $d/lock",
        "rm $d/lock; ln -s lock $d/lock",
        "rm $d/lock; ln -s /dev/tty $d/lock",
        """rm $d/lock; python3 -c "from socket import *; socket(AF_UNIX).bind('$d/lock')" """,
        "rm $d/pid.json $d/spec.json; mkfifo $d/pid.json $d/spec.json",
        "rm -f $d/shipped.json; mkfifo $d/shipped.json $d/outcome.json",
    ],
)
async def test_what_stands_in_the_place_of_its_files_blocks_nobody(bench, replace):
    """Other programs of the worker come to their end meanwhile, and its own end is known."""
    starts = bench.folder / "starts"
    odd = bench.declare("odd", f"{FOLDER}; {replace}; echo >> {starts}; sleep 0.5; exit 3")
    plain = bench.declare("plain", "sleep 0.3")
    context, other = await bench.start(odd), await bench.start(plain)
    async with bench.worker():
        assert (await bench.ended(other)).status == "DONE"
        await bench.ended(context)
    (error,) = await bench.events(context, ":ERROR")
    assert error.payload["data"]["exit_code"] == 3
    assert starts.read_text() == "\n"


@pytest.mark.parametrize("is_shim_killed", [True, False], ids=["without shim", "with shim"])
@pytest.mark.parametrize("is_followed", [True, False], ids=["followed", "found"])
async def test_a_program_is_ended_though_the_files_of_all_runs_were_removed(
    bench, is_followed, is_shim_killed
):
    """Nothing on the disk says that it is there, nor what its grace was."""
    trap = "" if is_shim_killed else "trap '' TERM; "
    script = f"{trap}echo up; sleep 600 & sleep 600"
    context = await bench.start(bench.declare("bare", script, grace=0.2))
    async with bench.worker():
        directory = await bench.running(context)
        await until(directory.stdout.read_text)
        family = members_of(directory.path)
        shim = directory.shim()
        shutil.rmtree(directory.path.parents[1])
        if is_shim_killed:
            os.kill(shim, signal.SIGKILL)
            await until(lambda: process_start(shim) is None)
            family.discard(shim)
        if is_followed:
            await bench.store.cancel([context], "enough", {})
            await until(lambda: not any(map(process_start, family)))
            return
    async with bench.worker():
        await bench.store.cancel([context], "enough", {})
        await until(lambda: not any(map(process_start, family)))


async def test_a_program_is_ended_though_its_run_was_cancelled_while_nobody_held_it(bench):
    """From another host, or in SQL: no worker of this one is told."""
    context = await bench.start(bench.declare("bare", "echo up; sleep 600", grace=0.2))
    async with bench.worker():
        directory = await bench.running(context)
        family = members_of(directory.path)
    async with bench.worker(queues=["another"]):
        await asyncio.sleep(0.5)  # its first look finds nothing to end
        assert any(map(process_start, family))
        await bench.store.cancel([context], "enough", {})
        await until(lambda: not any(map(process_start, family)))


async def test_without_shim_and_files_a_program_is_not_started_again(bench):
    """It is followed while it lives, and lost when it has ended; its retries decide then."""
    starts, gate = bench.folder / "starts", bench.folder / "gate"
    script = f"echo >> {starts}; until [ -e {gate} ]; do sleep 0.05; done"
    context = await bench.start(bench.declare("bare", script, retries=1, backoff=0.01))
    async with bench.worker():
        directory = await bench.running(context)
        await until(starts.exists)
        shim, pid = directory.shim(), directory.pid()
    shutil.rmtree(directory.path.parents[1])
    os.kill(shim, signal.SIGKILL)
    async with bench.worker():
        await until(lambda: process_start(shim) is None)
        assert process_start(pid) is not None
        assert starts.read_text() == "\n"
        gate.touch()
        assert (await bench.ended(context)).status == "DONE"
    assert starts.read_text() == "\n" * 2
