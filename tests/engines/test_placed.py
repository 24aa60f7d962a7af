"""Runs that a launcher places on a real Slurm: what each kind of launcher must do."""

from collections.abc import Iterator

import pytest

from tests.acceptance.command import Command
from tests.conftest import fresh_database
from tests.engines.places import KINDS, Place
from tests.engines.slurm import Slurm
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


def test_01_a_placed_run_is_as_one_here(place: Place, runs: dict[str, int]) -> None:
    """Its events, its result and its place are there, by the payload's own connection."""
    kind, payload = place.end(runs["where"])

    assert kind == "FINAL", payload
    assert payload["number"] == 7
    assert payload["node"] in {"n1", "n2"}
    assert place.kinds(runs["where"]) == ["INITIAL", "PLACED", "STARTED", "FINAL"]


def test_13_what_ends_a_run_is_told_apart(place: Place, runs: dict[str, int]) -> None:
    """A program's exit code, too little memory, a killed payload, an error, a refusal."""
    ends = {name: place.end(context) for name, context in runs.items()}

    good = {name for name, (kind, _) in ends.items() if kind == "FINAL"}
    assert good == {"where", "all_of"}, ends
    assert ends["exits"][1]["data"]["exit_code"] == 137, ends["exits"]
    assert ends["memory"][1]["code"] == "OUT_OF_MEMORY", ends["memory"]
    assert ends["killed"][1]["code"] in {"PLACE_LOST", "POISON"}, ends["killed"]
    assert ends["fails"][1]["message"] == "an unlucky number"
    assert ends["too_big"][1]["code"] == "ENGINE_REFUSED"


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
