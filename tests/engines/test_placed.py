"""Runs that a launcher places on a real Slurm: what each kind of launcher must do."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.acceptance.command import Command
from tests.conftest import fresh_database
from tests.engines.places import KINDS, Place
from tests.engines.slurm import Slurm, wait_until
from tests.forked import Forked

pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="module", params=[*KINDS])
def place(
    request: pytest.FixtureRequest,
    server,
    template,
    forked: Forked,
    slurm: Slurm,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Place]:
    """The project, with the launcher of a kind, a worker that looks after it, and runs."""
    folder = tmp_path_factory.mktemp(request.param)
    for url in fresh_database(server, template):
        environ = forked.environ(DAMA_DATABASE_URL=url, DAMA_HOME=str(folder / "home"))
        own = {**slurm.environ, "PATH": environ["PATH"] + ":" + slurm.environ["PATH"]}
        (folder / "project").mkdir()
        place = Place(Command(folder / "project", environ | own), slurm, request.param)
        place.launch()
        try:
            yield place
        finally:
            place.close()


@pytest.fixture(scope="module")
def runs(place: Place) -> dict[str, int]:
    """Runs that are placed side by side: each is a case of its own."""
    return {
        "where": place.start("jobs.where", "--number", 7),
        "exits": place.start("jobs.exits"),
        "memory": place.start("jobs.dies", "--how", "memory"),
        "killed": place.start("jobs.dies", "--how", "kill"),
        "fails": place.start("jobs.where", "--number", 13),
        "too_big": place.start("jobs.too_big"),
        "all_of": place.start("jobs.all_of", "--count", 6),
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
    """A program's exit code, too little memory, a killed payload, an error, a refusal."""
    ends = {name: place.end(context) for name, context in runs.items()}

    good = {name for name, (kind, _) in ends.items() if kind == "FINAL"}
    assert good == {"where", "all_of"}, ends
    assert ends["exits"][1]["data"]["exit_code"] == 137, ends["exits"]
    assert place.dama("logs", runs["exits"]).stdout == "said\n"
    assert ends["memory"][1]["code"] == "OUT_OF_MEMORY", ends["memory"]
    assert ends["killed"][1]["code"] in {"PLACE_LOST", "POISON"}, ends["killed"]
    assert ends["fails"][1]["message"] == "an unlucky number"
    assert ends["too_big"][1]["code"] == "ENGINE_REFUSED"


@pytest.mark.case(16)
def test_16_a_map_is_one_array_and_its_limit_holds(place: Place, runs: dict[str, int]) -> None:
    """Each part is a context of its own; one that fails leaves the others."""
    place.end(runs["all_of"])
    parts = place.sql(
        "SELECT context_id FROM _data_manager_admin.etl_context WHERE parent_id = %s ORDER BY 1",
        runs["all_of"],
    )
    names = {place.events(context)[1][1]["name"] for (context,) in parts}

    assert len(parts) == 6
    assert place.events(runs["all_of"])[-1][0] == "FINAL"
    if place.kind == "slurm":
        assert len(names) < 6


@pytest.mark.case(11)
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


@pytest.mark.case(7, 8)
def test_08_an_engine_that_is_away_has_ended_nothing(place: Place) -> None:
    """What runs there continues, and the reason of what is placed says that it does not answer.

    What it has saved is known again. What it has not is forgotten: it gives the number of the job
    once more, and a node that has such a job gives the new one up, which is then placed again.
    """
    wait_until(lambda: not place.jobs(), "an empty cluster")
    folder = place.dama.folder
    (folder / "hold").touch()
    (folder / "done").unlink(missing_ok=True)
    running = place.start("jobs.steps", "--folder", str(folder))
    wait_until((folder / "done").exists, "a first step", 120)
    (job,) = place.jobs()
    if place.kind == "slurm":
        place.slurm.save()
    place.slurm.signal("slurmctld")
    if place.kind == "command":
        place.slurm.forget(job)
    try:
        waiting = place.start("jobs.where", "--number", 1)
        wait_until(lambda: "answer" in place.why(waiting), "a reason", 60)
        (folder / "hold").unlink()
        assert place.end(running) == ("FINAL", 3)
        assert place.run_state(waiting) in {"queued", "placed"}
    finally:
        place.slurm.start_daemon("slurmctld")

    assert place.end(waiting)[0] == "FINAL", place.events(waiting)
    assert place.kinds(running) == ["INITIAL", "PLACED", "STARTED", "FINAL"]
    lost = ["PLACED", "UNPLACED"] if place.kind == "command" else []
    assert place.kinds(waiting) == ["INITIAL", *lost, "PLACED", "STARTED", "FINAL"]
    place.slurm.resume_nodes()


@pytest.mark.case(17)
def test_17_nothing_secret_is_said_to_the_engine(place: Place) -> None:
    """The address of the database: in no command line, no job, and no file of the engine."""
    folder = place.dama.folder
    (folder / "hold").touch()
    (folder / "done").unlink(missing_ok=True)
    context = place.start("jobs.steps", "--folder", str(folder))
    wait_until((folder / "done").exists, "a first step", 120)
    secret = place.dama.environ["DAMA_DATABASE_URL"]
    secret = secret.rpartition("/")[2].partition("?")[0]  # the name of the database

    told = place.slurm("scontrol", "show", "job", "--details")
    script = "".join(
        place.slurm("scontrol", "write", "batch_script", job, "-") for job in place.jobs()
    )
    lines = [Path(f"/proc/{pid}/cmdline").read_bytes().decode() for pid in place.slurm.processes()]
    kept = [
        path
        for path in place.slurm.folder.rglob("*")
        if path.is_file() and secret.encode() in path.read_bytes()
    ]
    (folder / "hold").unlink()

    assert "JobId" in told
    assert secret not in told + script + " ".join(lines)
    assert kept == []
    assert place.end(context)[0] == "FINAL"
