"""The command line as a person and a script meet it: real processes on a real database."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import psycopg
import pytest

from dama.embedded import EmbeddedPostgres

OTHERS = """
    SELECT count(*) FROM pg_stat_activity
     WHERE datname = current_database() AND pid <> pg_backend_pid()
       AND backend_type = 'client backend'
"""
DAMA = str(Path(sys.executable).with_name("dama"))
SERVICE = '''
"""Small tasks for tests."""
import asyncio, pathlib
from dama import Service, Task

small = Service("small")

@small.task
async def add(task: Task, a: int, b: int = 1) -> int:
    """Add two numbers.

    Args:
        a: The one.
        b: The other.
    """
    return await task.step("sum", lambda: a + b)

@small.task
async def fail(task: Task) -> None:
    """Fail."""
    raise ValueError("as it should")

@small.task
async def ticks(task: Task, count: int = 20) -> int:
    """Take a while, step by step, and longer in a folder with a file `slow`."""
    for number in range(count):
        if number == 3:
            while pathlib.Path("slow").exists():
                await asyncio.sleep(0.02)
        await task.step("tick", asyncio.sleep, 0.1)
    return count
'''


@pytest.fixture
def project(tmp_path):
    """A folder with a service and its settings."""
    (tmp_path / "small.py").write_text(SERVICE)
    (tmp_path / "dama.toml").write_text('services = ["small"]\n')
    return tmp_path


def test_a_run_ends_with_its_result_and_what_to_try_next(dama):
    """Exit code 0."""
    done = dama("run", "small.add", "--a", "3")

    assert done.returncode == 0
    assert "dama show 1" in done.stdout
    outcome = json.loads(dama("run", "small.add", "--a", "3", "--json").stdout)
    assert (outcome["status"], outcome["result"]) == ("DONE", 4)


def test_the_help_of_a_task_comes_from_its_signature_and_docstring(dama):
    """Written once."""
    text = dama("run", "small.add", "--help").stdout

    assert "Add two numbers." in text
    assert "--a" in text
    assert "The other." in text


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["run", "small.fail"], 1, ["ValueError: as it should", "dama resume 1"]),
        (["run", "small.ad"], 2, ["small.add"]),
        (["run", "small.add", "--a", "x", "--b", "y"], 2, ["--a", "--b"]),
        (["run", "small.add"], 2, ["--a"]),
        (["show", "99"], 4, ["There is no context 99"]),
        (["emit", "99", "x"], 4, ["There is no context 99"]),
        (["state", "99"], 4, ["There is no context 99"]),
    ],
)
def test_what_goes_wrong_is_one_message_and_an_exit_code(dama, arguments, code, words):
    """No traceback; all problems at once."""
    failed = dama(*arguments)

    assert failed.returncode == code
    assert "Traceback" not in failed.stderr
    for word in words:
        assert word in failed.stdout + failed.stderr


def test_a_database_that_is_not_there_is_said(dama):
    """Exit code 3, and where to look."""
    failed = dama("ls", DAMA_DATABASE_URL="postgresql://localhost:1/none?connect_timeout=2")

    assert failed.returncode == 3
    assert "does not answer" in failed.stderr
    assert "Traceback" not in failed.stderr


def test_an_ended_context_takes_no_event(dama):
    """Exit code 6."""
    dama("run", "small.add", "--a", "3")

    refused = dama("emit", "1", "late")

    assert refused.returncode == 6
    assert "ended with its FINAL" in refused.stderr


def test_every_reading_verb_speaks_json(dama):
    """For scripts."""
    dama("run", "small.add", "--a", "3")

    assert json.loads(dama("ls", "--json").stdout)[0]["task"] == "small.add"
    assert json.loads(dama("show", "1", "--json").stdout)["lifecycle"]["result"] == 4
    assert len(json.loads(dama("tree", "1", "--json").stdout)) == 1
    assert json.loads(dama("state", "1").stdout)["status"] == "DONE"
    events = [json.loads(line) for line in dama("events", "1", "--json").stdout.splitlines()]
    assert [event["version"] for event in events] == [1, 2, 3, 4]
    at = str(events[1]["event_id"])
    assert json.loads(dama("state", "1", "--at", at).stdout)["status"] == "OPEN"


def test_a_list_is_filtered_and_says_how_to_read_on(dama):
    """What was typed is compared as JSON where it is that; more is said beside the output."""
    for a in ("1", "2", "3"):
        dama("run", "small.add", "--a", a, "--detach")
    mine = ("ls", "--json", "--limit", "1", "--since", "1d", "--service", "small")

    page = dama(*mine)
    rest = dama(*mine, "--before", "2", "--limit", "9")
    two = dama("ls", "--json", "--param", "a=2", "--status", "open", "--status", "done")
    none = [dama("ls", *each) for each in NOTHING]
    wrong = dama("ls", "--param", "a")
    empty = dama("ls", "--since", "1h", "--until", "2h")

    assert [row["context_id"] for row in json.loads(page.stdout)] == [3]
    assert page.stderr == "More: the same command with --before 3\n"
    assert [row["context_id"] for row in json.loads(rest.stdout)] == [1]
    assert rest.stderr == ""
    assert {row["context_id"] for row in json.loads(two.stdout)} <= {2}
    assert {each.stdout for each in none} == {"No context matches.\n"}
    assert wrong.returncode == 2
    assert "NAME=VALUE" in wrong.stderr
    assert (empty.returncode, "must be after `since`" in empty.stderr) == (2, True)


NOTHING = (
    ("--task", "typo"), ("--user", "nobody"), ("--schedule", "x"), ("--param", "a=x"),
    ("--param", "a.b=1"), ("--queue", "x"), ("--worker", "99"), ("--until", "1d"),
    ("--task", "small.add", "--status", "CANCELLED", "--user", "nobody", "--all"),
)  # fmt: skip


def test_an_interrupted_run_goes_on_with_resume(dama, project):
    """Ctrl-C says how; done steps are not done again."""
    slow = project / "slow"
    slow.touch()
    with subprocess.Popen(
        [DAMA, "run", "small.ticks"],
        cwd=project,
        env=dama.environ,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        for line in process.stderr:
            if "step tick#3" in line:
                process.send_signal(signal.SIGINT)
                break
        rest = process.stderr.read()
    assert process.returncode == 130
    assert "dama resume 1" in rest

    slow.unlink()
    resumed = dama("resume", "1", "--json")

    assert json.loads(resumed.stdout)["result"] == 20
    types = [json.loads(line)["type"] for line in dama("events", "1", "--json").stdout.splitlines()]
    assert types.count("small.ticks:STARTED") == 2
    assert len([type_ for type_ in types if type_.endswith(":DONE")]) == 20


PROGRAMS = """
[programs."old.load"]
help = "Load a year, as usual."
command = ["./load.sh", "--year", "{year}"]
params.year = { type = "integer", min = 1987, help = "The year to load." }
"""


def test_a_declared_program_looks_like_every_other_task(dama, project):
    """In lists, in its help, in its schema and in what is refused."""
    with (project / "dama.toml").open("a") as file:
        file.write(PROGRAMS)

    listed = dama("services").stdout
    (service,) = json.loads(dama("services", "old", "--json").stdout)
    shown = dama("run", "old.load", "--help").stdout
    refused = dama("run", "old.load", "--year", "1900")

    assert "  old.load  Load a year, as usual." in listed
    assert service["tasks"][0]["params"]["properties"]["year"]["minimum"] == 1987
    assert service["tasks"][0]["program"]["command"][0] == "./load.sh"
    assert "--year INTEGER" in shown
    assert "The year to load. [required]" in " ".join(shown.split())
    assert (refused.returncode, "--year should be greater" in refused.stderr) == (2, True)


def test_a_wrong_declaration_is_one_message(dama, project):
    """With the file and the key; nothing runs."""
    with (project / "dama.toml").open("a") as file:
        file.write(PROGRAMS.replace("command", "comand"))

    refused = dama("run", "small.add", "--a", "1")

    assert refused.returncode == 2
    assert 'dama.toml: programs."old.load" has the unknown key' in refused.stderr
    assert "command" in refused.stderr
    assert "Traceback" not in refused.stderr


def test_existing_programs_are_drafted_for_review(dama, project):
    """To standard output, into a new file, or from a crontab on standard input."""
    (project / "etl").mkdir()
    (project / "etl/load.sh").write_text("# Load it.\necho $1\n")

    shown = dama("import", "etl").stdout
    written = dama("import", "etl", "--write", "etl/dama.toml")
    again = dama("import", "etl", "--write", "etl/dama.toml")
    crontab = subprocess.run(
        [DAMA, "import", "-"], input="15 2 * * * /opt/load.sh\n",
        cwd=project, env=dama.environ, capture_output=True, text=True, check=True,
    )  # fmt: skip

    assert 'cwd = "etl"' in shown
    assert written.returncode == 0
    assert "cwd" not in (project / "etl/dama.toml").read_text()
    assert (again.returncode, "is there already" in again.stderr) == (2, True)
    assert 'dama schedule add load cron.load --cron "15 2 * * *" --zone' in crontab.stdout
    with (project / "dama.toml").open("a") as file:
        file.write(shown)
    assert "etl.load  Load it." in dama("services").stdout


def test_a_detached_run_outlives_the_command(dama, database_url):
    """Its events can be followed from anywhere. It ends by itself."""
    begun = dama("run", "small.ticks", "--count", "3", "--detach")
    assert begun.returncode == 0

    followed = dama("events", "1", "-f", "--json")

    types = [json.loads(line)["type"] for line in followed.stdout.splitlines()]
    assert types[-1] == "small.ticks:FINAL"
    with psycopg.connect(database_url, autocommit=True) as connection:
        deadline = time.monotonic() + 60
        while connection.execute(OTHERS).fetchone() != (0,):
            assert time.monotonic() < deadline
            time.sleep(0.02)


@pytest.mark.parametrize("wish", [("--enqueue",), ("--label", "gpu")], ids=["enqueue", "label"])
def test_a_run_that_is_enqueued_waits_for_a_worker(dama, wish):
    """Nothing of it runs in the command, nor behind it."""
    begun = dama("run", "small.add", "--a", "1", *wish)

    assert "Context 1 of small.add is queued." in begun.stdout, begun.stderr
    assert json.loads(dama("show", "1", "--json").stdout)["run"]["state"] == "queued"
    dama("worker", "--until-idle", *(wish if "gpu" in wish else ()))
    assert json.loads(dama("show", "1", "--json").stdout)["status"] == "DONE"


def test_a_module_is_its_own_command_line(dama, project):
    """`python small.py add --a 3`."""
    module = project / "small.py"
    module.write_text(f"{SERVICE}\nif __name__ == '__main__':\n    small.main()\n")

    done = subprocess.run(
        [sys.executable, "small.py", "add", "--a", "3"],
        cwd=project,
        env=dama.environ,
        capture_output=True,
        text=True,
        check=False,
    )

    assert (done.returncode, done.stderr.count("Traceback")) == (0, 0)


def test_a_run_goes_on_when_the_database_was_restarted(project, tmp_path):
    """Killed and started again in the middle: no acknowledged event is lost, no step is doubled."""
    server = EmbeddedPostgres(tmp_path / "home")
    environ = {**os.environ, "DAMA_HOME": str(tmp_path / "home")}
    try:
        with subprocess.Popen(
            [DAMA, "run", "small.ticks", "--json"],
            cwd=project,
            env=environ,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        ) as process:
            for line in process.stderr:
                if "step tick#3" in line:
                    os.kill(server.status().pid, signal.SIGKILL)
                    break
            deadline = time.monotonic() + 60
            while server.status().running and time.monotonic() < deadline:
                time.sleep(0.02)
            server.start()
            outcome, _ = process.communicate(timeout=150)

        assert json.loads(outcome)["result"] == 20
        with psycopg.connect(server.url) as connection:
            rows = connection.execute(
                "SELECT type FROM _data_manager_admin.event_store_prototype"
            ).fetchall()
        done = [type_ for (type_,) in rows if type_.endswith(":DONE")]
        assert len(done) == len(set(done)) == 20
    finally:
        server.stop()


def test_all_events_are_listed_and_followed_with_their_positions(dama):
    """From a position, by the beginning of the type, as they come."""
    dama("run", "small.add", "--a", "3")

    lines = dama("events", "--all", "--from", "2").stdout.splitlines()
    events = [json.loads(line) for line in dama("events", "--all", "--json").stdout.splitlines()]
    some = dama("events", "--all", "--type", "small.add:").stdout.splitlines()

    assert [event["position"] for event in events] == list(range(1, len(events) + 1))
    assert [int(line.split()[0]) for line in lines] == list(range(2, len(events) + 1))
    assert len(some) == sum(event["type"].startswith("small.add:") for event in events)
    with subprocess.Popen(
        [DAMA, "events", "--all", "-f", "--from", str(len(events)), "--json"],
        cwd=dama.folder,
        env=dama.environ,
        stdout=subprocess.PIPE,
    ) as follower:
        assert json.loads(follower.stdout.readline())["type"] == "small.add:FINAL"
        dama("run", "small.add", "--a", "4")
        assert json.loads(follower.stdout.readline())["type"] == "small.add:INITIAL"
        follower.kill()


@pytest.mark.parametrize(
    "arguments", [["1", "--all"], [], ["1", "--from", "2"], ["--all", "--tree"]]
)
def test_options_of_events_that_do_not_fit_are_refused(dama, arguments):
    """Exit code 2."""
    assert dama("events", *arguments).returncode == 2


def test_the_state_of_the_log_is_shown_and_a_parked_context_resumed(dama, database_url):
    """What an operator needs when a subscription could not handle an event."""
    dama("run", "small.add", "--a", "3")
    with psycopg.connect(database_url) as connection:
        connection.execute("SELECT _data_manager_admin.create_subscription('mailer', 2, 0)")
        connection.execute(
            "INSERT INTO _data_manager_admin.subscription_parked"
            " (name, context_id, lane, position, error)"
            """ VALUES ('mailer', 1, 1, 2, '{"name": "ValueError", "message": "no such month"}')"""
        )

    shown = dama("log", "status").stdout
    found = json.loads(dama("log", "status", "--json").stdout)

    assert "ValueError: no such month" in shown
    (mailer,) = found["subscriptions"]
    assert (mailer["behind"], mailer["parked"]) == (found["position"], 1)
    assert dama("log", "resume", "mailer", "2").returncode == 4
    assert "at position 2" in dama("log", "resume", "mailer", "1").stdout
    assert "resumed" in dama("log", "status").stdout


def test_a_schedule_is_added_seen_paused_backfilled_and_removed(dama):
    """Its whole life, with what is said on the way."""
    cron = ("--cron", "0 6 * * *", "--zone", "Europe/Berlin", "--param", "a=1")
    added = dama("schedule", "add", "daily", "small.add", *cron)
    assert "fires first at" in added.stdout, added.stderr

    wrong = dama("schedule", "add", "other", "small.add", *cron[:4])
    assert (wrong.returncode, "a is required" in wrong.stderr) == (2, True), wrong.stderr
    assert "daily is paused" in dama("schedule", "pause", "daily").stdout
    (row,) = json.loads(dama("schedule", "ls", "--json").stdout)
    assert (row["schedule"]["task"], row["paused"]) == ("small.add", True)
    assert "fires next at" in dama("schedule", "resume", "daily").stdout

    span = ("--from", "2026-03-28", "--to", "2026-03-31")
    listed = dama("schedule", "backfill", "daily", *span, "--dry-run").stdout.split()
    assert listed == [f"2026-03-{day}T06:00:00+0{offset}:00" for day, offset in
                      ((28, 1), (29, 2), (30, 2))]  # fmt: skip
    assert "3 firings have a context" in dama("schedule", "backfill", "daily", *span).stdout
    assert len(json.loads(dama("ls", "--json").stdout)) == 3

    assert "removed" in dama("schedule", "rm", "daily").stdout
    assert dama("schedule", "show", "daily").returncode == 4


def test_closed_trees_are_archived_restored_and_forgotten(dama):
    """And what is archived says so."""
    assert dama("run", "small.add", "--a", "1").returncode == 0
    assert "1 tree would" in dama("archive", "add", "--older-than", "0s", "--dry-run").stdout
    assert "1 context with" in dama("archive", "add", "--older-than", "0s").stdout

    shown = dama("show", "1")
    assert (shown.returncode, "is archived" in shown.stderr) == (4, True)
    assert "1 context is back" in dama("archive", "restore", "1").stdout
    assert dama("show", "1").returncode == 0

    dama("archive", "add", "--older-than", "0s")
    assert dama("archive", "forget", "--older-than", "0s").returncode != 0  # nobody said yes
    assert "is removed" in dama("archive", "forget", "--older-than", "0s", "--yes").stdout


def test_the_doctor_and_a_rebuild_say_what_they_found(dama):
    """The tests' server is without fsync, which the doctor does not let pass."""
    looked = dama("doctor")
    assert (looked.returncode, "fail  durability" in looked.stdout) == (1, True), looked.stdout
    assert json.loads(dama("doctor", "--json").stdout)[0]["name"] == "server"
    assert "0 runs are in the queue" in dama("db", "rebuild").stdout


def test_a_unit_of_systemd_is_printed_that_systemd_understands(dama, tmp_path):
    """With options of the worker, and so that programs continue while it is deployed."""
    printed = dama("unit", "worker", "--slots", "4").stdout
    assert {"KillMode=process", "LimitNOFILE=65536"} <= set(printed.splitlines())
    assert "worker --slots 4" in printed
    analyze = shutil.which("systemd-analyze")
    if analyze is None:
        pytest.skip("THE UNIT IS NOT VERIFIED: systemd-analyze is not installed")
    file = tmp_path / "dama-worker.service"
    file.write_text(printed)
    verified = subprocess.run(
        [analyze, "verify", "--man=no", file], capture_output=True, text=True, check=False
    )
    problems = [line for line in verified.stderr.splitlines() if file.name in line]
    assert problems == []


def test_what_old_runs_left_is_cleaned(dama, project):
    """As [keep] says; what is gone is told by who asks for it."""
    dama("run", "--", "sh", "-c", "echo hello > $DAMA_WORKDIR/x")
    assert "files of runs 0, working folders 0" in dama("clean").stdout
    with (project / "dama.toml").open("a") as file:
        file.write('[keep]\nlogs = "0s"\nwork = "0s"\n')
    assert "Would remove: files of runs 1, working folders 1" in dama("clean", "--dry-run").stdout
    assert dama("logs", "1").returncode == 0
    assert json.loads(dama("clean", "--json").stdout)["runs"] == 1
    gone = dama("logs", "1")
    assert (gone.returncode, "were cleaned" in gone.stderr) == (4, True)
