"""Programs as tasks: what they tell becomes events, and what they were told to do was done once."""

import asyncio
import json
import os
import platform
import resource
import shutil
import signal
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import psycopg
import pytest

from dama import Service
from dama.app import App
from dama.definitions.registry import Registry
from dama.domain.lifecycle import lifecycle
from dama.operations import contexts
from dama.programs import adoption
from dama.programs.place import identity_of_this_process, keep_mark
from dama.programs.process import members_of, process_start
from dama.programs.programs import directories_of
from dama.run.starts import start_of
from tests.integration.programs import Bench, until


class Programs(Bench):
    """Programs."""

    def __init__(self, store, folder):
        self.folder = folder
        self.service = Service("p")
        super().__init__(store, Registry([self.service]))

    def declare(self, name, script, **settings):
        """A bash script as a task."""
        command = settings.pop("command", ["bash", "-c", script, "bash"])
        values = {"command": command, **settings}
        return self.service.declare(name, values, place="test", base=self.folder)

    async def performed(self, task, **params):
        """Run it to its end; give its context."""
        context_id = await self.start(task, **params)
        async with self.worker():
            await self.ended(context_id)
        return context_id

    async def events(self, context_id, suffix=""):
        """Its events, of one type."""
        return [e for e in await self.store.events(context_id) if e.type.endswith(suffix)]

    async def directory(self, context_id):
        """The files of its latest run."""
        runs = await directories_of(self.store, Path(os.environ["DAMA_HOME"]))
        return runs.of_context(context_id)[-1]


@pytest.fixture
async def bench(store, tmp_path):
    """Programs; none is left behind."""
    bench = Programs(store, tmp_path)
    yield bench
    runs = await directories_of(store, Path(os.environ["DAMA_HOME"]))
    for directory in runs.open():
        for pid in (directory.shim(), directory.pid()):
            if pid is not None:
                os.kill(pid, signal.SIGKILL)


async def test_a_program_without_any_change_is_a_task(bench):
    """Level 0: the exit code, and its output in files."""
    task = bench.declare("plain", "echo hello; echo oh >&2")
    context = await bench.performed(task)
    outcome = await bench.ended(context)
    assert (outcome.status, outcome.result) == ("DONE", {"exit_code": 0})
    directory = await bench.directory(context)
    assert directory.stdout.read_text() == "hello\n"
    assert directory.stderr.read_text() == "oh\n"
    (final,) = await bench.events(context, ":FINAL")
    assert final.meta["program"]["usage"]["max_rss"] > 0
    assert final.meta["program"]["logs"]["stdout"] == 6


async def test_an_exit_code_fails_the_task_with_the_last_words_of_the_program(bench):
    task = bench.declare("broken", "echo nothing; seq 1 50 >&2; echo no disk >&2; exit 3")
    outcome = await bench.ended(await bench.performed(task))
    assert outcome.status == "ERROR"
    assert outcome.error["message"] == "bash ended with exit code 3: no disk"
    assert outcome.error["data"]["exit_code"] == 3
    assert len(outcome.error["data"]["stderr"]) == 20


@pytest.mark.parametrize(("code", "attempts"), [(1, 1), (75, 3), (2, 1)])
async def test_exit_codes_say_whether_another_attempt_is_worth_it(bench, code, attempts):
    task = bench.declare(
        "coded", f"exit {code}", retries=2, backoff=0.01, exit_codes={"retry": [75], "fail": [2]}
    )
    context = await bench.performed(task)
    assert len(await bench.events(context, ":STARTED")) == attempts


async def test_a_program_gets_its_params_and_knows_who_it_is(bench, monkeypatch):
    monkeypatch.setenv("TOKEN", "s3cret!")
    script = """
        printf '%s\\n' "$1" "$DAMA_PARAM_YEAR" "$DAMA_CONTEXT_ID" "$DAMA_EPOCH"
        printf '%s\\n' "$TOKEN" "$PGAPPNAME"
        cat "$DAMA_PARAMS"; pwd; echo "token $TOKEN" >&2; exit 1
    """
    params = {"year": {"type": "integer"}}
    task = bench.declare(
        "told", "", command=["bash", "-c", script, "bash", "{year}"], params=params,
        secrets=["TOKEN"], cwd="."
    )  # fmt: skip
    context = await bench.performed(task, year=2013)
    directory = await bench.directory(context)
    lines = directory.stdout.read_text().splitlines()
    assert lines[:6] == ["2013", "2013", str(context), "1", "*******", f"dama:{context}:1"]
    assert json.loads(lines[6].removesuffix(str(bench.folder))) == {"year": 2013}
    kept = json.dumps([str(e.payload) + str(e.meta) for e in await bench.events(context)])
    assert "s3cret!" not in kept
    assert "***" in kept


async def test_lines_and_the_file_of_events_become_events(bench):
    """Lines, the file and the command; a result, and a file that it leaves."""
    task = bench.declare(
        "telling",
        """
        echo '{"type": "not/an/event"}'; echo 'x ::dama:: {"type": "nor/this"}'
        echo '::dama:: {"type": "rows/read", "payload": {"rows": 3}}'
        echo '::dama:: {"type": ":WARN", "payload": {"message": "late"}}'
        echo '{"type": "rows/written", "payload": 4,'\
'"meta": {"by": "me", "epoch": 99}}' >> $DAMA_EVENTS
        echo '{"type": "/extract:DONE"}' >> $DAMA_EVENTS
        dama emit rows/told rows=5 by=hand
        echo '{"rows": 42}' > $DAMA_RESULT; echo data > $DAMA_ARTIFACTS/rows.csv
        printf '{"type": "last", "payload": null}' >> $DAMA_EVENTS
        """,
    )
    context = await bench.performed(task)
    outcome = await bench.ended(context)
    assert outcome.result == {"rows": 42}
    found = {e.type: e for e in await bench.events(context)}
    assert "not/an/event" not in found
    assert "nor/this" not in found
    assert found["rows/read"].payload == {"rows": 3}
    assert found["p.telling:WARN"].payload == {"message": "late"}
    assert found["rows/written"].meta["by"] == "me"
    assert found["rows/written"].meta["epoch"] == 1
    assert found["rows/written"].meta["idempotency_key"] == "ship/1/events/0"
    assert found["rows/told"].payload == {"rows": 5, "by": "hand"}
    assert found["last"].payload is None
    assert found["p.telling:ARTIFACT"].payload == {"path": "rows.csv", "bytes": 5}
    assert (await bench.store.state(context, lifecycle)).steps == ("extract",)


async def test_a_program_may_not_write_what_the_controller_writes(bench):
    task = bench.declare(
        "forging",
        """
        for type in :FINAL :ERROR other.task:STARTED :CANCELLED :ADOPTED :LOST /x:SPAWNED; do
            echo "::dama:: {\\"type\\": \\"$type\\", \\"payload\\": {}, \\"error\\": true}"
        done
        echo '::dama:: not json'; echo '::dama:: {"type": ""}'
        echo '::dama:: {"type": "a", "x": 1}'
        printf '::dama:: {"type": "nul", "payload": "\\\\u0000"}\\n'
        printf '::dama:: {"type": "bytes", "payload": "\\377"}\\n'
        """,
    )
    context = await bench.performed(task)
    assert (await bench.ended(context)).status == "DONE"
    types = [e.type.rpartition(":")[2] for e in await bench.events(context)]
    assert types == ["INITIAL", "STARTED", *["WARN"] * 11, "bytes", "FINAL"]
    (replaced,) = await bench.events(context, "bytes")
    assert replaced.payload == "\ufffd"


async def test_a_retry_finds_in_the_state_what_is_done(bench):
    task = bench.declare(
        "resuming",
        """
        cp $DAMA_STATE state.$DAMA_EPOCH
        grep -q '"steps": \\["first"\\]' $DAMA_STATE && exit 0
        echo '::dama:: {"type": "/first:DONE"}'; exit 1
        """,
        retries=1,
        backoff=0.01,
        cwd=".",
    )
    assert (await bench.ended(await bench.performed(task))).status == "DONE"
    assert json.loads((bench.folder / "state.2").read_text())["attempt"] == 2


async def test_a_time_out_is_told(bench):
    task = bench.declare("late", "sleep 600", timeout=0.3)
    outcome = await bench.ended(await bench.performed(task))
    assert "timeout" in outcome.error["message"]


async def test_cancelling_ends_the_program(bench):
    task = bench.declare("long", "trap '' TERM; sleep 600 & setsid sleep 600 & wait", grace=0.2)
    context = await bench.start(task)
    async with bench.worker():
        directory = await bench.running(context)
        await bench.store.cancel([context], "enough", {})
        await until(directory.exit)
    assert (directory.exit()["why"], directory.exit()["left"]) == ("cancelled", 0)
    assert directory.pid() is None


@pytest.mark.parametrize("is_elsewhere", [False, True])
async def test_who_cancels_one_context_ends_no_program_of_another(bench, monkeypatch, is_elsewhere):
    """Whatever it knows of the place, such as where another user cancels."""
    gate = bench.folder / "gate"
    wanted = await bench.start(bench.declare("wanted", f"until [ -e {gate} ]; do sleep 0.05; done"))
    long = await bench.start(bench.declare("long", "sleep 600", grace=0.2))
    app = App(bench.store, bench.registry, Path(os.environ["DAMA_HOME"]))
    async with bench.worker():
        directories = [await bench.running(context) for context in (wanted, long)]
    # No worker is there: who cancels sees to it.
    with monkeypatch.context() as patch:
        if is_elsewhere:
            patch.setattr(platform, "node", lambda: "elsewhere")
        await contexts.cancel(app, long)
    assert [directory.exit() is None for directory in directories] == [True, False]
    gate.touch()
    async with bench.worker():
        assert (await bench.ended(wanted)).status == "DONE"


async def test_a_program_that_was_about_to_start_is_started_by_the_next_worker(bench):
    """Its worker died after the run was bound to the host, before there was a process."""
    task = bench.declare("plain", "echo once >> $(dirname $DAMA_EVENTS)/count")
    context = await bench.start(task)
    queue = bench.store.queue
    home = Path(os.environ["DAMA_HOME"])
    identity = identity_of_this_process(home, keep_mark(home))
    identity = replace(identity, pid=1, pid_started="never")
    dead = await queue.register(
        identity, queues=["default"], root=None, slots=1, lease=timedelta(minutes=1)
    )
    (claim,) = await queue.claim(dead, queues=["default"], tasks=[task.name], root=None, demand=1)
    runs = await directories_of(bench.store, Path(os.environ["DAMA_HOME"]))
    runs.of(context, claim.epoch).make()
    assert await queue.bind_program(context, dead, claim.epoch)
    async with bench.worker():
        assert (await bench.ended(context)).status == "DONE"
    assert [e.type for e in await bench.events(context)] == [
        "p.plain:INITIAL",
        "p.plain:STARTED",
        "p.plain:FINAL",
    ]
    assert (runs.of(context, claim.epoch).path / "count").read_text() == "once\n"


async def test_a_program_whose_run_another_host_has_is_ended(bench, database_url):
    """Two copies would do its work twice."""
    context = await bench.start(bench.declare("long", "sleep 600"))
    async with bench.worker():
        directory = await bench.running(context)
    pid = directory.pid()
    assert pid is not None  # it outlived its worker
    with psycopg.connect(database_url, autocommit=True) as database:
        database.execute(
            "UPDATE _data_manager_admin.run_queue"
            " SET host = 'elsewhere', epoch = epoch + 1, program_epoch = epoch + 1"
        )
    async with bench.worker():
        await until(directory.exit)
    assert directory.exit()["why"] == "cancelled"
    assert process_start(pid) is None
    assert [e.type for e in await bench.events(context)] == ["p.long:INITIAL", "p.long:STARTED"]


async def test_a_host_that_has_another_name_since_ends_no_program(bench, monkeypatch):
    """Nor does another user with the same files: only who has started it again is a reason."""
    context = await bench.start(bench.declare("long", "sleep 600", grace=0.2))
    async with bench.worker():
        directory = await bench.running(context)
    other = await bench.start(bench.declare("other", "sleep 600", grace=0.2))
    with monkeypatch.context() as patch:
        patch.setattr(platform, "node", lambda: "renamed")
        async with bench.worker():
            unwanted = await bench.running(other)
            await bench.store.cancel([other], "enough", {})
            await until(unwanted.exit)  # it has looked at all of them
    assert directory.exit() is None
    async with bench.worker():
        await bench.store.cancel([context], "enough", {})
        await until(directory.exit)


async def test_a_tree_has_a_working_folder_for_its_programs_and_tasks(bench):
    """Shared with subtasks and kept over retries; an older program is given it as an argument."""
    fetch = bench.declare(
        "fetch",
        "",
        command=["bash", "-c", 'echo "$1" > $1/rows; exit $(( DAMA_EPOCH < 2 ))', "bash",
                 "{etl_work_dir}"],
        retries=1,
        backoff=0.01,
    )  # fmt: skip

    @bench.service.task
    async def load(task) -> list[str]:
        await task.run(fetch)
        return [str(task.work_dir), (task.work_dir / "rows").read_text()]

    context = await bench.start(load)
    async with bench.worker():
        outcome = await bench.ended(context)
    assert outcome.status == "DONE", outcome.error
    folder, written = outcome.result
    assert written == f"{folder}\n"
    assert Path(folder).name == str(context)


async def test_a_param_of_the_name_takes_the_place_of_the_working_folder(bench, tmp_path):
    task = bench.declare(
        "older",
        "",
        command=["bash", "-c", 'echo "\\"$1\\"" > $DAMA_RESULT', "bash", "{etl_work_dir}"],
        params={"etl_work_dir": {"required": False}},
    )
    given = await bench.ended(await bench.performed(task, etl_work_dir=str(tmp_path)))
    assert given.result == str(tmp_path)
    context = await bench.performed(task)
    assert (await bench.ended(context)).result.endswith(f"work/{context}")


async def test_a_run_that_never_began_leaves_nothing_to_be_seen_to(bench):
    """Its worker was killed before the run was bound; the next one starts it in another folder."""
    task = bench.declare("plain", "true")
    context = await bench.start(task)
    runs = await directories_of(bench.store, Path(os.environ["DAMA_HOME"]))
    abandoned = runs.of(context, 99)
    abandoned.make()
    async with bench.worker():
        await until(lambda: not abandoned.is_open())
        assert (await bench.ended(context)).status == "DONE"


async def test_a_run_that_somebody_is_about_to_start_is_left_alone(bench, monkeypatch):
    """Who holds the lock will start it, or let go."""
    (context,) = await bench.store.start([start_of(bench.declare("plain", "true"), {})])
    runs = await directories_of(bench.store, Path(os.environ["DAMA_HOME"]))
    begun = runs.of(context, 99)
    begun.make()
    lock = begun.lock()
    monkeypatch.setattr(adoption, "START_SECONDS", 0.1)
    await adoption.stop_bound_elsewhere(bench.store, runs)
    assert begun.is_open()
    os.close(lock)


async def test_a_run_that_is_about_to_be_bound_is_not_waited_for(bench):
    """Its shim would be ended as soon as it came, though the run is bound by then."""
    (context,) = await bench.store.start([start_of(bench.declare("plain", "true"), {})])
    runs = await directories_of(bench.store, Path(os.environ["DAMA_HOME"]))
    begun = runs.of(context, 99)
    begun.make()
    lock = begun.lock()
    async with asyncio.timeout(adoption.START_SECONDS / 2):
        await adoption.stop_bound_elsewhere(bench.store, runs)
    assert begun.is_open()
    os.close(lock)


async def test_a_log_that_is_truncated_is_read_from_its_beginning_and_said(bench):
    """`> /dev/stderr` empties a file; whoever looks should know, and later events are kept."""
    task = bench.declare(
        "truncating",
        """
        for i in 1 2 3 4; do echo "a long line $i, which is more than one short one"; done
        echo to stderr, also a long line that will be missed >&2
        until grep -q '"stderr": {"offset": [1-9]' $(dirname $DAMA_EVENTS)/shipped.json; do
            echo "::dama:: {\\"type\\": \\"seen/line\\"}"; sleep 0.1
        done
        echo short > /dev/stderr; echo x > /dev/stdout
        echo '::dama:: {"type": "after/it"}'
        """,
    )
    context = await bench.performed(task)
    assert len(await bench.events(context, "after/it")) == 1
    warnings = [e.payload for e in await bench.events(context, ":WARN")]
    assert {w["stream"] for w in warnings} == {"stdout", "stderr"}
    assert all("truncated" in w["message"] for w in warnings)


async def test_a_folder_that_is_removed_starts_nothing_again(bench, tmp_path):
    """Somebody frees a disk: the program continues, once, and its end is known."""
    task = bench.declare("kept", f"echo >> {tmp_path}/starts; read < {tmp_path}/go; exit 0")
    os.mkfifo(tmp_path / "go")
    context = await bench.start(task)
    async with bench.worker():
        directory = await bench.running(context)
        shutil.rmtree(directory.path)
        async with bench.worker():  # another one looks at it, too
            await asyncio.sleep(0.5)  # the longest pause between two looks, twice
        (tmp_path / "go").write_text("\n")
        outcome = await bench.ended(context)
    assert (outcome.status, (tmp_path / "starts").read_text()) == ("DONE", "\n")


@pytest.mark.parametrize(
    ("leave", "words"),
    [
        ("mkfifo $DAMA_RESULT", "not a regular file"),
        ("ln -s /dev/zero $DAMA_RESULT", "not a regular file"),
        ("head -c 1500000 /dev/zero | tr '\\0' 1 > $DAMA_RESULT", "1,500,000 bytes"),
        ("echo NaN > $DAMA_RESULT", "JSON"),
        ("printf '\"\\\\u0000\"' > $DAMA_RESULT", "0000"),
        ("printf '[%.0s' $(seq 3000) > $DAMA_RESULT", ""),
        ("mkdir $DAMA_RESULT", ""),
    ],
)
async def test_a_result_that_cannot_be_kept_is_said_in_the_result(bench, leave, words):
    outcome = await bench.ended(await bench.performed(bench.declare("left", leave)))
    assert outcome.status == "DONE"
    assert outcome.result["exit_code"] == 0
    assert words in outcome.result["left_out"]["result"]


async def test_events_in_a_fifo_block_nobody(bench):
    script = "rm $DAMA_EVENTS; mkfifo $DAMA_EVENTS; sleep 0.6"
    context = await bench.performed(bench.declare("fifo", script))
    assert (await bench.ended(context)).status == "DONE"
    (warning,) = await bench.events(context, ":WARN")
    assert "not a regular file" in warning.payload["message"]


@pytest.mark.parametrize("depth", [100, 1000, 100_000])
async def test_a_deep_line_ends_neither_its_run_nor_what_is_read(bench, depth):
    script = f"""
        printf '::dama:: {{"type": "deep", "payload": '
        head -c {depth} /dev/zero | tr '\\0' '['; head -c {depth} /dev/zero | tr '\\0' ']'
        echo '}}'; echo '::dama:: {{"type": "after/it"}}'; echo >> runs
    """
    task = bench.declare("deep", script, retries=2, backoff=0.01, cwd=".")
    context = await bench.performed(task)
    assert (await bench.ended(context)).status == "DONE"
    assert len(await bench.events(context, "after/it")) == 1
    assert (bench.folder / "runs").read_text() == "\n"


async def test_every_artifact_has_an_event_whatever_its_name_is(bench):
    script = "cd $DAMA_ARTIFACTS; touch $(seq 1505) $(printf 'caf\\351')"
    context = await bench.performed(bench.declare("many", script))
    found = await bench.events(context, ":ARTIFACT")
    assert len(found) == 1506
    (odd,) = [e.payload for e in found if "path_hex" in e.payload]
    assert bytes.fromhex(odd["path_hex"]) == b"caf\xe9"


async def test_a_stopped_shim_and_children_that_hide_are_ended(bench):
    script = "env -i sleep 611 & env -i setsid sleep 611 & trap '' TERM; echo up; wait; wait; wait"
    context = await bench.start(bench.declare("hiding", script, grace=0.2))
    async with bench.worker():
        directory = await bench.running(context)
        await until(directory.stdout.read_text)
        family = members_of(directory.path)
        os.kill(directory.shim(), signal.SIGSTOP)
        await bench.store.cancel([context], "enough", {})
        await until(lambda: not any(map(process_start, family)))
    assert len(family) >= 4


async def test_without_a_shim_children_without_environment_are_ended(bench):
    script = "env -i sleep 612 & sleep 612 & echo up; wait; wait"
    context = await bench.start(bench.declare("cleared", script, grace=0.2))
    async with bench.worker():
        directory = await bench.running(context)
        await until(directory.stdout.read_text)
        family = members_of(directory.path) - {directory.shim()}
        os.kill(directory.shim(), signal.SIGKILL)
        os.kill(directory.pid(), signal.SIGKILL)
        assert (await bench.ended(context)).status == "ERROR"
        await until(lambda: not any(map(process_start, family)))
    assert len(family) == 3


async def test_a_worker_without_descriptors_gives_no_verdict(bench):
    """Nothing can be looked at; that says nothing of what runs."""
    context = await bench.start(bench.declare("healthy", "sleep 1; exit 0"))
    async with bench.worker():
        await bench.running(context)
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (1, hard))
        try:
            await asyncio.sleep(2)  # it ends meanwhile
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        assert (await bench.ended(context)).result == {"exit_code": 0}
    assert [e.type for e in await bench.events(context)][1:] == [
        "p.healthy:STARTED",
        "p.healthy:FINAL",
    ]


@pytest.mark.parametrize(("code", "status"), [(0, "ERROR"), (3, "DONE"), (4, "ERROR")])
async def test_a_program_that_is_not_declared_any_more_comes_to_its_end(
    bench, database_url, code, status
):
    """With what its exit codes meant when it was started; no further attempt can be made."""
    task = bench.declare("old", f"sleep 1; exit {code}", exit_codes={"done": [3]}, retries=3)
    context = await bench.start(task)
    async with bench.worker():
        await bench.running(context)
    with psycopg.connect(database_url, autocommit=True) as database:
        database.execute("UPDATE _data_manager_admin.run_queue SET host_until = now()")
    released = Bench(bench.store, Registry([Service("new")]))
    async with released.worker():
        assert (await released.ended(context)).status == status


@pytest.mark.parametrize(("code", "status"), [(0, "DONE"), (4, "ERROR")])
@pytest.mark.parametrize("isolation", [None, "process"])
async def test_a_program_that_became_a_function_meanwhile_ends_as_a_program(
    bench, isolation, code, status
):
    """The new release has a task of its name in Python: what runs is what was started."""
    gate = bench.folder / "gate"
    script = f"until [ -e {gate} ]; do sleep 0.05; done; echo '[7]' > $DAMA_RESULT; exit {code}"
    context = await bench.start(bench.declare("old", script))
    async with bench.worker():
        await bench.running(context)
    service = Service("p")
    service.task(isolation=isolation, name="old")(not_called)
    released = Bench(bench.store, Registry([service]))
    async with released.worker():
        gate.touch()
        ended = await released.ended(context)
    assert ended.status == status
    assert ended.result == [7] if code == 0 else "exit code 4" in ended.error["message"]


def not_called(task) -> None:
    """What a new release has instead of a program."""
    raise AssertionError(task)


async def test_what_an_older_version_started_is_adopted(bench, database_url):
    """It bound programs to the name of the host."""
    context = await bench.start(bench.declare("long", "sleep 2"))
    async with bench.worker():
        directory = await bench.running(context)
    with psycopg.connect(database_url, autocommit=True) as database:
        database.execute("UPDATE _data_manager_admin.run_queue SET host = %s", [platform.node()])
    pid = directory.pid()
    async with bench.worker():
        assert (await bench.ended(context)).status == "DONE"
    assert pid == directory.read("pid.json")["pid"]


async def test_another_home_of_the_host_is_another_place(bench, tmp_path):
    """Two users, or two containers of one name: neither buries nor adopts what the other has."""
    context = await bench.start(bench.declare("long", "sleep 1"))
    async with bench.worker():
        directory = await bench.running(context)
        async with bench.worker(home=tmp_path / "other"):
            assert (await bench.ended(context)).status == "DONE"
    assert directory.exit()["why"] == ""
    types = [e.type for e in await bench.events(context)]
    assert types == ["p.long:INITIAL", "p.long:STARTED", "p.long:FINAL"]


async def test_a_worker_that_cannot_be_seen_is_not_buried(bench):
    """In another PID namespace its pid is nobody's, or another's: its lease decides."""
    home = Path(os.environ["DAMA_HOME"])
    identity = identity_of_this_process(home, keep_mark(home))
    unseen = [
        replace(identity, pid=1, pid_started="1", pid_namespace="pid:[1]"),
        replace(identity, pid=1, pid_started="1", boot_id="another machine"),
        replace(identity, pid=1, pid_started="1", place="elsewhere"),
    ]
    dead = replace(identity, pid=1, pid_started="never")
    for each in (*unseen, dead):
        await bench.store.queue.register(
            each, queues=["default"], root=None, slots=1, lease=timedelta(minutes=1)
        )
    async with bench.worker():
        known = await bench.store.queue.workers_of_host(identity.host)
    assert sorted(started for _, _, pid, started in known if pid == 1) == ["1", "1", "1"]


async def test_a_param_too_long_for_the_environment_is_in_the_file_of_params(bench):
    params = {"text": {"type": "string"}}
    script = 'test -z "$DAMA_PARAM_TEXT" && wc -c < $DAMA_PARAMS > $DAMA_RESULT'
    context = await bench.performed(
        bench.declare("long", script, params=params), text="x" * 200_000
    )
    assert (await bench.ended(context)).result > 200_000
    (warning,) = await bench.events(context, ":WARN")
    assert "DAMA_PARAM_TEXT" in warning.payload["message"]


async def test_an_argument_that_no_kernel_takes_is_refused_with_the_reason(bench):
    command = ["echo", "{text}"]
    task = bench.declare(
        "long", "", command=command, params={"text": {"type": "string"}}, retries=3
    )
    context = await bench.performed(task, text="x" * 200_000)
    assert "200,000 bytes" in (await bench.ended(context)).error["message"]
    assert len(await bench.events(context, ":STARTED")) == 1


async def test_a_worker_that_leaves_programs_keeps_no_descriptor_of_them(bench):
    """Whoever runs workers one after the other in a process would have none left in the end."""

    def watched():
        links = []
        for each in Path("/proc/self/fd").iterdir():
            with suppress(OSError):  # that of the folder itself
                links.append(str(each.readlink()))
        return links.count("anon_inode:[pidfd]")

    before = watched()
    context = await bench.start(bench.declare("long", "echo up; sleep 600", grace=0.2))
    async with bench.worker():
        await bench.running(context)
        assert watched() == before + 1
    assert watched() == before
    await bench.store.cancel([context], "enough", {})
    async with bench.worker():
        await bench.ended(context)
