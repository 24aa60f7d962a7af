"""The cases that each kind of launcher must pass; `make conformance` prints them as a table.

Slurm is a real one, and the kind `command` has its commands. Kubernetes is a stand-in.
"""

import os
import random
import re
import signal
import time
from functools import partial
from pathlib import Path

import pytest

from tests.engines.places import Place
from tests.engines.slurm import wait_until

PARTS = int(os.environ.get("DAMA_TEST_PARTS", "12"))  # of a map; 100 in `make conformance`
AT_ONCE = 3
KILLS = int(os.environ.get("DAMA_TEST_KILLS", "2"))  # of launching workers; 200 in `make kills`
IS_WHOLE = "DAMA_TEST_PARTS" in os.environ
pytestmark = pytest.mark.timeout(300 + 10 * PARTS + 60 * KILLS)

# `command` has no part of its own in these, and Slurm is slow in some: `make conformance` has all.
beside_the_kind = pytest.mark.parametrize(
    "place", ["slurm", "kubernetes"] + ["command"] * IS_WHOLE, indirect=True
)
slow_on_slurm = pytest.mark.parametrize(
    "place", ["kubernetes"] + ["slurm", "command"] * IS_WHOLE, indirect=True
)


@pytest.fixture(scope="module")
def runs(place: Place) -> dict[str, int]:
    """Runs that are placed side by side: each is a case of its own."""
    return {
        "where": place.start("jobs.where", "--number", 7),
        "exits": place.start("jobs.exits"),
        "memory": place.start("jobs.dies", "--how", "memory"),
        "killed": place.start("jobs.dies", "--how", "kill"),
        "fails": place.start("jobs.where", "--number", 13),
        "all_of": place.start("jobs.all_of", "--count", PARTS),
    }


@pytest.mark.case(1)
def test_01_a_placed_run_is_as_one_here(place: Place, runs: dict[str, int]) -> None:
    """Its events, its result and its place are there, by the payload's own connection."""
    kind, payload = place.end(runs["where"])

    assert kind == "FINAL", payload
    assert payload["number"] == 7
    assert payload["node"] in {"n1", "n2"}
    assert place.kinds(runs["where"]) == ["INITIAL", "PLACED", "STARTED", "FINAL"]


@pytest.mark.case(13)
def test_13_what_ends_a_run_is_told_apart(place: Place, runs: dict[str, int]) -> None:
    """A program's exit code, too little memory, a killed payload, an error."""
    ends = {name: place.end(context, 120 + 5 * PARTS) for name, context in runs.items()}

    good = {name for name, (kind, _) in ends.items() if kind == "FINAL"}
    assert good == {"where", "all_of"}, ends
    assert ends["exits"][1]["data"]["exit_code"] == 137, ends["exits"]
    assert place.dama("logs", runs["exits"]).stdout == "said\n"
    assert ends["memory"][1]["code"] == "OUT_OF_MEMORY", ends["memory"]
    assert ends["killed"][1]["code"] in {"PLACE_LOST", "POISON"}, ends["killed"]
    assert ends["fails"][1]["message"] == "an unlucky number"


@pytest.mark.case(16)
def test_16_a_map_is_one_array_and_its_limit_holds(place: Place, runs: dict[str, int]) -> None:
    """Each part is a context of its own; one that fails leaves the others."""
    assert place.end(runs["all_of"], 120 + 5 * PARTS) == ("FINAL", 1)

    parts = place.sql(
        "SELECT context_id FROM _data_manager_admin.etl_context WHERE parent_id = %s ORDER BY 1",
        runs["all_of"],
    )
    names = {place.events(context)[1][1]["name"] for (context,) in parts}
    (most,) = place.sql(
        "SELECT max(running) FROM (SELECT sum(CASE split_part(type, ':', 2) WHEN 'PLACED' THEN 1"
        " ELSE -1 END) OVER (ORDER BY event_id) FROM _data_manager_admin.event_store_prototype"
        " WHERE etl_context_id = ANY (%s)"
        " AND split_part(type, ':', 2) IN ('PLACED', 'FINAL', 'ERROR')) s (running)",
        [context for (context,) in parts],
    )
    assert len(parts) == PARTS
    assert most[0] == AT_ONCE
    if place.kind != "command":
        assert len(names) < PARTS


@beside_the_kind
@pytest.mark.case(2)
def test_02_a_worker_that_is_killed_before_it_has_asked(place: Place) -> None:
    """The engine has heard of nothing: the next worker asks for the job."""
    place.hold_submission("before")
    context = place.start("jobs.where", "--number", 2)
    wait_until(place.is_held, "a submission")
    place.kill_workers()
    place.kill_submission()
    assert place.kinds(context) == ["INITIAL", "PLACED"]
    assert place.jobs() == []
    place.launch()

    assert place.end(context)[0] == "FINAL"
    assert place.kinds(context) == ["INITIAL", "PLACED", "STARTED", "FINAL"]


@beside_the_kind
@pytest.mark.case(3)
def test_03_a_worker_that_is_killed_before_it_has_the_answer(place: Place) -> None:
    """The engine has the job: the next worker finds it by its name, and asks for no other."""
    place.hold_submission("after")
    context = place.begin_steps(held=False)
    wait_until(place.is_held, "a submission")
    place.kill_workers()
    place.kill_submission()
    wait_until(lambda: len(place.steps()) == 2, "a second step that waits", 120)
    assert place.job_of(context) is None
    place.launch()
    wait_until(lambda: place.job_of(context) is not None, "a job that is found")
    assert len(place.jobs()) == 1
    place.release()

    assert place.end(context) == ("FINAL", 3)
    assert place.kinds(context) == ["INITIAL", "PLACED", "STARTED", "FINAL"]
    assert place.steps() == ["0", "1", "2"]


@slow_on_slurm
@pytest.mark.case(2, 3)
def test_launching_workers_that_are_killed_at_any_moment_double_nothing(place: Place) -> None:
    """Each run begins once, and ends; half of the time there are two of them."""
    chance, contexts = random.Random(7), list[int]()
    for number in range(KILLS):
        contexts += [place.start("jobs.where", "--number", 100 + n) for n in range(2)]
        place.kill_workers()
        for _ in range(1 + number % 2):
            place.launch()
        wait_until(partial(place.is_placed, contexts[-1]), "a place", 120)
        time.sleep(chance.random() / 4)  # before, while or after it asks the engine
        place.kill_workers()
    place.launch()

    ends = {context: place.end(context)[0] for context in contexts}
    assert set(ends.values()) == {"FINAL"}, ends
    begun = {context: place.kinds(context) for context in contexts}
    assert {tuple(kinds) for kinds in begun.values()} == {
        ("INITIAL", "PLACED", "STARTED", "FINAL")
    }, begun


@beside_the_kind
@pytest.mark.case(4)
def test_04_a_submission_that_fails_and_is_done_later(place: Place) -> None:
    """It is found by its name."""
    wait_until(lambda: not place.jobs(), "an empty cluster")
    place.submit_late()
    context = place.start("jobs.where", "--number", 4)
    wait_until(lambda: "answer" in place.why(context), "a submission without an answer")
    place.answer_again()

    assert place.end(context)[0] == "FINAL"
    assert place.kinds(context) == ["INITIAL", "PLACED", "STARTED", "FINAL"]


@beside_the_kind
@pytest.mark.case(5)
def test_05_two_workers_that_place_a_run_at_once(place: Place) -> None:
    """One is stopped while it asks, and presumed dead; another asks; then the first continues."""
    place.hold_submission("before")
    context = place.begin_steps(held=False)
    wait_until(place.is_held, "a submission")
    first = place.leader()
    os.kill(first, signal.SIGSTOP)
    try:
        place.launch()
        wait_until(lambda: len(place.steps()) == 2, "a second step that waits", 120)
        place.let_go()
    finally:
        os.kill(first, signal.SIGCONT)
    place.release()

    assert place.end(context) == ("FINAL", 3)
    assert place.kinds(context) == ["INITIAL", "PLACED", "STARTED", "FINAL"]
    assert place.steps() == ["0", "1", "2"]
    wait_until(lambda: not place.jobs(), "an empty cluster")


@beside_the_kind
@pytest.mark.case(6)
def test_06_two_jobs_of_one_epoch(place: Place) -> None:
    """One has the run. The other ends quietly, and nothing is done by it."""
    context = place.begin_steps()
    place.submit_again(context)
    wait_until(lambda: len(place.jobs()) == 1, "the end of the second job")
    place.release()

    assert place.end(context) == ("FINAL", 3)
    assert place.kinds(context) == ["INITIAL", "PLACED", "STARTED", "FINAL"]
    assert place.steps() == ["0", "1", "2"]


@pytest.mark.case(7, 8)
def test_08_an_engine_that_is_away_has_ended_nothing(place: Place) -> None:
    """What runs there continues, and the reason of what is placed says that it does not answer.

    What Slurm has saved is known again. What it has not is forgotten: it gives the number of the
    job once more, and a node that has such a job gives the new one up, which is then placed again.
    """
    wait_until(lambda: not place.jobs(), "an empty cluster")
    running = place.begin_steps()
    place.go_away()
    try:
        waiting = place.start("jobs.where", "--number", 1)
        wait_until(lambda: "answer" in place.why(waiting), "a reason", 60)
        place.release()
        assert place.end(running) == ("FINAL", 3)
        assert place.run_state(waiting) in {"queued", "placed"}
    finally:
        place.come_back()

    assert place.end(waiting)[0] == "FINAL", place.events(waiting)
    assert place.kinds(running) == ["INITIAL", "PLACED", "STARTED", "FINAL"]
    lost = ["PLACED", "UNPLACED"] if place.kind == "command" else []
    assert place.kinds(waiting) == ["INITIAL", *lost, "PLACED", "STARTED", "FINAL"]
    place.resume_nodes()


@beside_the_kind
@pytest.mark.case(9, 12)
def test_09_a_node_that_is_lost(place: Place) -> None:
    """Its runs are taken over by their leases, whatever the engine believes; their logs remain.

    The node comes back, and what it continues to do is refused.
    """
    wait_until(lambda: not place.jobs(), "an empty cluster")
    context, program = place.begin_steps(), place.start("jobs.stays")
    wait_until(lambda: len(place.sleepers()) == 2, "the program and its child", 60)
    followed = place.follow(program)
    assert followed.stdout is not None
    assert followed.stdout.readline() == b"began\n"
    node = place.node_of(context)
    place.freeze_node(node)
    try:
        wait_until(lambda: place.kinds(context).count("STARTED") == 2, "another place", 60)
        assert place.dama("logs", program, "--run", 1).stdout == "began\n"
    finally:
        place.thaw_node(node)
    place.release()

    assert place.end(context) == ("FINAL", 3)
    assert place.steps() == ["0", "1", "1", "2"]
    place.dama("cancel", program, check=True)
    assert place.end(program)[0] == "CANCELLED"
    followed.communicate(timeout=150)
    wait_until(lambda: not place.sleepers(), "the end of what it started", 60)


@pytest.mark.case(10)
def test_10_what_is_cancelled_while_it_is_pending_never_begins(place: Place) -> None:
    """Its job leaves the queue of the engine."""
    wait_until(lambda: not place.jobs(), "an empty cluster")
    running = [place.begin_steps(held=False) for _ in range(2)]
    wait_until(lambda: len(place.steps()) == 4, "two runs that wait", 120)
    pending = place.start("jobs.steps", "--folder", str(place.dama.folder))
    wait_until(lambda: len(place.jobs()) == 3, "a job that is pending")

    place.dama("cancel", pending, check=True)

    wait_until(lambda: len(place.jobs()) == 2, "the end of its job")
    place.release()
    assert place.end(pending)[0] == "CANCELLED"
    assert place.kinds(pending) == ["INITIAL", "PLACED", "CANCELLED"]
    assert {place.end(context)[0] for context in running} == {"FINAL"}


@pytest.mark.case(11, 12)
def test_11_a_cancelled_run_ends_in_the_engine_too(place: Place) -> None:
    """The job, its program, and what that has started in a session of its own."""
    context = place.start("jobs.stays")
    wait_until(lambda: place.run_state(context) == "running", "a program on a node", 60)
    wait_until(lambda: len(place.sleepers()) == 2, "the program and its child", 60)
    assert "began" in place.dama("logs", context).stdout
    followed = place.follow(context)

    place.dama("cancel", context, check=True)

    assert place.end(context)[0] == "CANCELLED"
    assert followed.communicate(timeout=150)[0] == b"began\n"
    wait_until(lambda: not place.jobs(), "the end of the job", 60)
    wait_until(lambda: not place.sleepers(), "the end of what it started", 60)


@beside_the_kind
@pytest.mark.case(14)
def test_14_a_payload_ends_itself_before_its_time_limit(place: Place) -> None:
    """The run is queued again, and continues after its last step in another job."""
    (place.dama.folder / "limit").touch()
    context = place.begin_steps()
    (place.dama.folder / "limit").unlink()
    wait_until(lambda: place.kinds(context).count("STARTED") == 2, "another place", 120)
    place.release()

    assert place.end(context) == ("FINAL", 3)
    assert place.steps() == ["0", "1", "1", "2"]


@slow_on_slurm
@pytest.mark.case(14)
def test_14_a_time_limit_is_said(place: Place) -> None:
    """Where it came before the payload has ended."""
    context = place.begin_steps()
    place.time_out(context)
    kind, payload = place.end(context)
    place.release()

    assert (kind, payload["code"]) == ("ERROR", "TIME_LIMIT"), payload


@slow_on_slurm
@pytest.mark.case(15)
def test_15_a_record_that_is_gone_takes_nothing_with_it(place: Place) -> None:
    """The engine has forgotten how a killed payload ended: its run is placed again."""
    done, killed = place.start("jobs.where", "--number", 15), place.begin_steps()
    assert place.end(done)[0] == "FINAL"
    place.kill_workers()
    place.kill_payload(killed)
    place.expire()
    place.launch()
    wait_until(lambda: place.kinds(killed).count("STARTED") == 2, "another place", 120)
    place.release()

    assert place.end(killed) == ("FINAL", 3)
    assert place.steps() == ["0", "1", "1", "2"]
    assert place.kinds(done) == ["INITIAL", "PLACED", "STARTED", "FINAL"]


@pytest.mark.case(17)
def test_17_nothing_secret_is_said_to_the_engine(place: Place) -> None:
    """The address of the database: in no command line, no job, and no file of the engine."""
    context = place.begin_steps()
    secret = place.dama.environ["DAMA_DATABASE_URL"]
    secret = secret.rpartition("/")[2].partition("?")[0]  # the name of the database

    told, files = place.told()
    lines = [Path(f"/proc/{pid}/cmdline").read_bytes().decode() for pid in place.processes()]
    place.release()

    assert re.split("[_/]", place.job_of(context))[0] in told
    assert any("perform" in line for line in lines)
    assert secret not in told + " ".join(lines)
    assert secret not in str(place.events(context))
    assert [path for path in files if secret.encode() in path.read_bytes()] == []
    assert place.end(context)[0] == "FINAL"


@pytest.mark.parametrize("place", ["slurm", "command"], indirect=True)
def test_what_an_engine_refuses_is_an_error(place: Place) -> None:
    """Kubernetes keeps what is too big pending, and says so."""
    kind, payload = place.end(place.start("jobs.too_big"))

    assert (kind, payload["code"]) == ("ERROR", "ENGINE_REFUSED")
