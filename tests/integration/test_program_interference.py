"""What somebody does to the files, the shim and the host of a program beside it."""

import asyncio
import os
import resource
import signal

import pytest

from dama.definitions.registry import Registry
from dama.programs.process import is_stopped, process_start
from tests.integration import isolated_jobs as jobs
from tests.integration.programs import PATIENCE, Bench, until
from tests.integration.test_program_prints import LINE, SHIPPED
from tests.integration.test_programs import Programs

MASKED = "*" * len("very-secret-value") + "\n"
SHIPPED_EVENTS = SHIPPED.replace("stdout", "events").strip()
FOLDER = 'd=$(dirname "$DAMA_EVENTS")'


@pytest.fixture
async def bench(store, tmp_path):
    """Programs."""
    return Programs(store, tmp_path)


@pytest.mark.parametrize(
    "away",
    [
        "mv $d/stdout $d/stdout.1",
        "mv $d/stdout $d/stdout.1; touch $d/stdout",
        "rm $d/stdout; echo other > $d/stdout",
        "cp $d/stdout $d/x; echo more >> $d/x; mv $d/x $d/stdout",
        "sed -i s/first/FIRST/ $d/stdout",
        "rm $d/stdout; mkdir $d/stdout; touch $d/stdout/x",
        "mv $d/stdout $d/real; ln -s real $d/stdout",
        "mv $d/stdout $d/stderr.1; mv $d/stderr $d/stdout; mv $d/stderr.1 $d/stderr",
    ],
)
async def test_a_log_that_is_moved_or_replaced_comes_back_and_tells_each_event_once(bench, away):
    """As logrotate, an editor or a person does; the program writes on where it did."""
    script = f"""{FOLDER}; echo a; {LINE % "first"}; {SHIPPED}{away}
        sleep 0.6; {LINE % "last"}; echo z"""
    context = await bench.performed(bench.declare("rotated", script))
    assert (await bench.ended(context)).status == "DONE"
    assert len(await bench.events(context, "seen/first")) == 1
    assert len(await bench.events(context, "seen/last")) == 1
    lines = (await bench.directory(context)).stdout.read_text().splitlines()
    assert [line for line in lines if "seen" not in line] == ["a", "z"]


@pytest.mark.parametrize(
    "write",
    [
        "mv $DAMA_EVENTS $d/events.1; {}",
        "rm $DAMA_EVENTS; {}",
        "cp $DAMA_EVENTS $d/x; (DAMA_EVENTS=$d/x; {}); mv $d/x $DAMA_EVENTS",
        "sed -i 's/ *$//' $DAMA_EVENTS; {}",
    ],
)
async def test_events_that_are_moved_or_replaced_are_told_once(bench, write):
    """Each line opens the file by its name: what is there is what the program writes."""
    waiting = "until [ -e $d/go ]; do sleep 0.01; done"
    script = f"""{FOLDER}; F() {{ echo '{{"type": "seen/'$1'"}}' >> $DAMA_EVENTS; }}; F first
        {SHIPPED_EVENTS}; {write.format("F second")}; {waiting}; F last"""
    context = await bench.start(bench.declare("rotated", script))
    async with bench.worker():
        directory = await bench.running(context)
        async with asyncio.timeout(PATIENCE):  # before the program has ended
            while not await bench.events(context, "seen/second"):  # noqa: ASYNC110 - a database
                await asyncio.sleep(0.01)
        (directory.path / "go").touch()
        await bench.ended(context)
    names = [event.type for event in await bench.events(context) if event.type[:5] == "seen/"]
    assert names == ["seen/first", "seen/second", "seen/last"]


async def test_a_log_that_was_moved_keeps_no_secret_under_any_name(bench, monkeypatch):
    monkeypatch.setenv("HUSHED", "very-secret-value")
    script = f"""{FOLDER}; echo $HUSHED; cp $d/stdout $d/x; mv $d/stdout $d/stdout.1
        mv $d/x $d/stdout; sleep 0.5; echo $HUSHED; exit 3"""
    task = bench.declare("hushed", script, secrets=["HUSHED"], retries=0)
    context = await bench.performed(task)
    folder = (await bench.directory(context)).path
    found = {path.name: path.read_text() for path in folder.glob("std*") if path.stat().st_size}
    assert found == {"stdout": MASKED * 2, "stdout.1": MASKED * 2, "stdout.other": MASKED}


@pytest.mark.parametrize(
    ("name", "document"),
    [
        ("shipped.json", '{"stdout": 5, "events": [], "artifacts": 3, "warnings": "x"}'),
        ("shipped.json", '{"stdout": {"offset": "x"}, "events": {"before": "zz", "offset": 1}}'),
        ("shipped.json", '{"stdout": {"offset": -9}, "stderr": {"unknown": true}}'),
        ("pid.json", '{"pid": "x", "started": 3, "boot_id": null}'),
        ("pid.json", "{}"),
        ("pid.json", "[1, 2"),
        ("spec.json", '{"timeout": "x", "grace": [], "argv": 7, "done": 1}'),
        ("spec.json", "null"),
        ("exit.json", '{"code": 0, "signal": null, "why": ""}'),
        ("exit.json", "{}"),
        ("exit.json", '{"code": "x"}'),
    ],
)
async def test_what_a_program_writes_over_its_files_ends_no_run_and_starts_none(
    bench, name, document
):
    """A worker adopts it with the files as they are by then."""
    starts, gate = bench.folder / "starts", bench.folder / "gate"
    script = f"""{FOLDER}; echo >> {starts}; {LINE % "first"}; {SHIPPED}
        rm -f $d/{name}; echo '{document}' > $d/{name}; touch {gate}.up
        until [ -e {gate} ]; do sleep 0.05; done; {LINE % "last"}; exit 3"""
    task = bench.declare("odd", script, retries=0)
    context = await bench.start(task)
    async with bench.worker():
        await until((bench.folder / "gate.up").exists)
        directory = await bench.directory(context)
        await bench.running(context) if name != "pid.json" else None
    async with bench.worker():
        adopted = bench.events
        await until_event(adopted, context, ":ADOPTED")
        gate.touch()
        await bench.ended(context)
    (error,) = await bench.events(context, ":ERROR")
    assert error.payload["data"]["exit_code"] == 3, error.payload
    assert starts.read_text() == "\n"
    assert directory.exit()["code"] == 3
    assert len(await bench.events(context, "seen/first")) == 1
    assert len(await bench.events(context, "seen/last")) == 1


async def until_event(events, context, suffix):
    """Wait for an event of a type."""
    async with asyncio.timeout(60):
        while not await events(context, suffix):  # noqa: ASYNC110 - a worker writes it
            await asyncio.sleep(0.01)


@pytest.mark.parametrize(
    ("script", "timeout", "words"),
    [
        ("kill -STOP $PPID; exit 3", None, "exit code 3"),
        ("trap '' HUP; kill -STOP $PPID; sleep 600", 1, "timeout"),
        ("(sleep 0.3; kill -STOP $PPID) & sleep 0.1; exit 3", None, "exit code 3"),
    ],
)
async def test_a_shim_that_was_stopped_continues(bench, monkeypatch, script, timeout, words):
    """Else nobody would end its program in time, or say how it ended."""
    monkeypatch.setattr("dama.programs.program.WAKE_SECONDS", 0.2)
    task = bench.declare("stopping", script, timeout=timeout, grace=0.2, linger=0.3, retries=0)
    context = await bench.performed(task)
    (error,) = await bench.events(context, ":ERROR")
    assert words in error.payload["message"]


async def test_a_stopped_program_stays_stopped(bench, monkeypatch):
    """Somebody wants it to pause; only its shim has to go on."""
    monkeypatch.setattr("dama.programs.program.WAKE_SECONDS", 0.05)
    context = await bench.start(bench.declare("paused", "echo up; sleep 600", grace=0.2))
    async with bench.worker():
        directory = await bench.running(context)
        shim, pid = directory.shim(), directory.pid()
        os.killpg(pid, signal.SIGSTOP)
        await until(lambda: is_stopped(pid))
        os.kill(shim, signal.SIGSTOP)
        await until(lambda: is_stopped(shim))
        await until(lambda: not is_stopped(shim))
        assert is_stopped(pid)
        await bench.store.cancel([context], "enough", {})
        await until(lambda: process_start(pid) is None)


async def test_a_mark_that_cannot_be_removed_changes_no_outcome(bench):
    """The home may be read-only by then; another program is seen to all the same."""
    script = """m=$(dirname $DAMA_EVENTS)/../../open/$DAMA_CONTEXT_ID.$DAMA_EPOCH
        rm $m; mkdir $m; echo '{"rows": 7}' > $DAMA_RESULT"""
    odd = await bench.start(bench.declare("odd", script))
    other = await bench.start(bench.declare("other", "sleep 600", grace=0.2))
    async with bench.worker():
        assert (await bench.ended(odd)).result == {"rows": 7}
        directory = await bench.running(other)
        pid = directory.pid()
        await bench.store.cancel([other], "enough", {})
        await until(lambda: process_start(pid) is None)
        await until(lambda: not directory.is_open())


async def without_descriptors(seconds):
    """Whatever is opened meanwhile fails."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (1, hard))
    try:
        await asyncio.sleep(seconds)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


async def test_what_a_program_leaves_is_whole_though_its_worker_had_no_descriptors(bench):
    """Its end was seen before; then there was nothing to read its result with."""
    script = f"""for i in $(seq 5); do echo $i > $DAMA_ARTIFACTS/$i; done
        {LINE % "last"}; echo '{{"type": "seen/file"}}' >> $DAMA_EVENTS
        echo '{{"rows": 7}}' > $DAMA_RESULT; sleep 0.5"""
    context = await bench.start(bench.declare("rich", script))
    async with bench.worker():
        directory = await bench.running(context)
        pid = directory.pid()
        while process_start(pid) is not None:
            await without_descriptors(0.02)
        for _ in range(20):
            await without_descriptors(0.1)
        assert (await bench.ended(context)).result == {"rows": 7}
    assert len(await bench.events(context, ":ARTIFACT")) == 5
    assert len(await bench.events(context, "seen/last")) == 1
    assert len(await bench.events(context, "seen/file")) == 1


async def test_a_run_is_adopted_whole_by_a_worker_without_descriptors(bench):
    """What cannot be read when it is claimed is no verdict on what runs."""
    starts, gate = bench.folder / "starts", bench.folder / "gate"
    script = f"echo >> {starts}; until [ -e {gate} ]; do sleep 0.05; done; echo 7 > $DAMA_RESULT"
    contexts = [await bench.start(bench.declare(f"a{i}", script, retries=0)) for i in range(5)]
    async with bench.worker():
        for context in contexts:
            await bench.running(context)
    async with bench.worker():
        for _ in range(8):
            await without_descriptors(0.1)
        gate.touch()
        assert [(await bench.ended(c)).result for c in contexts] == [7] * 5
    assert starts.read_text() == "\n" * 5


@pytest.mark.parametrize("away", ["rm", "mv"])
async def test_the_outcome_of_an_isolated_run_outlives_its_folder(store, tmp_path, away):
    bench = Bench(store, Registry([jobs.jobs]))
    gate = tmp_path / "gate"
    context = await bench.start(jobs.gated, gate=str(gate))
    async with bench.worker():
        directory = await bench.running(context)
        await until(directory.stdout.read_text)
        if away == "mv":
            directory.path.rename(tmp_path / "away")
        else:
            for path in sorted(directory.path.rglob("*"), reverse=True):
                path.rmdir() if path.is_dir() else path.unlink()
            directory.path.rmdir()
        gate.touch()
        assert (await bench.ended(context)).result == "passed"
    assert directory.exit()["code"] == 0


@pytest.mark.parametrize(
    "names", [["outcome.json", "exit.json"], ["outcome.json.new", "waiting"], []]
)
async def test_what_an_isolated_run_does_to_its_own_files_changes_no_outcome(store, names):
    """Nor does it when it waits, which another file says."""
    bench = Bench(store, Registry([jobs.jobs]))
    context = await bench.start(jobs.hinder, names=names)
    async with bench.worker():
        outcome = await bench.ended(context)
    assert outcome.result == 9, outcome
