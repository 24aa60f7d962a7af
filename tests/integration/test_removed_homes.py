"""A home that somebody removes or moves while its runs live: they are adopted, and run once."""

import os
import shutil
import signal
from pathlib import Path

import psycopg
import pytest

from dama.definitions.registry import Registry
from dama.programs import programs
from dama.programs.place import place_of
from dama.programs.process import process_start
from tests.integration import isolated_jobs as jobs
from tests.integration.programs import Bench, until
from tests.integration.test_programs import Programs

ADOPTED = ["INITIAL", "STARTED", "ADOPTED"]


def home_of_dama():
    return Path(os.environ["DAMA_HOME"])


def removed(home):
    shutil.rmtree(home)


def without_its_number(home):
    (home / "place").unlink()


def with_an_empty_number(home):
    (home / "place").write_bytes(b"")


def without_its_runs(home):
    shutil.rmtree(home / "runs")


def renamed(home):
    home.rename(home.with_name("old"))


def moved_behind_a_link(home):
    """As to a larger disk: what is open there stays what it was, and the rest is a copy."""
    there = home.with_name("larger")
    shutil.copytree(home, there)
    shutil.rmtree(home)
    home.symlink_to(there)


async def kinds_of(bench, context):
    """The types of its events."""
    return [event.type.rpartition(":")[2] for event in await bench.store.events(context)]


@pytest.mark.parametrize(
    "away",
    [
        removed,
        without_its_number,
        with_an_empty_number,
        without_its_runs,
        renamed,
        moved_behind_a_link,
    ],
)
async def test_the_next_worker_adopts_a_program_whatever_happened_to_its_home(
    store, tmp_path, away
):
    """By what only its processes know any more, else it would be another place's."""
    bench = Programs(store, tmp_path)
    starts, gate = tmp_path / "starts", tmp_path / "gate"
    script = f"echo >> {starts}; until [ -e {gate} ]; do sleep 0.05; done; exit 3"
    context = await bench.start(bench.declare("kept", script, retries=0))
    async with bench.worker():
        await bench.running(context)
        await until(starts.exists)
    known = place_of(home_of_dama())
    away(home_of_dama())
    async with bench.worker():
        await until((home_of_dama() / "place").read_bytes)
        gate.touch()
        await bench.ended(context)
    assert await kinds_of(bench, context) == [*ADOPTED, "ERROR"]
    assert starts.read_text() == "\n"
    assert place_of(home_of_dama()) == known or away is moved_behind_a_link


async def test_the_next_worker_adopts_an_isolated_run_whose_home_was_removed(store):
    bench = Bench(store, Registry([jobs.jobs]))
    gate = home_of_dama().with_name("gate")
    context = await bench.start(jobs.gated, gate=str(gate))
    async with bench.worker():
        directory = await bench.running(context)
        await until(directory.stdout.read_text)
    shutil.rmtree(home_of_dama())
    async with bench.worker():
        gate.touch()
        assert (await bench.ended(context)).result == "passed"
    assert await kinds_of(bench, context) == [*ADOPTED, "FINAL"]


async def test_a_program_without_shim_and_home_is_not_started_again(store, tmp_path):
    """It is followed while it lives, and then lost."""
    bench = Programs(store, tmp_path)
    gate = tmp_path / "gate"
    script = f"until [ -e {gate} ]; do sleep 0.05; done"
    context = await bench.start(bench.declare("bare", script, retries=0))
    async with bench.worker():
        directory = await bench.running(context)
        shim, pid = directory.shim(), directory.pid()
    shutil.rmtree(home_of_dama())
    os.kill(shim, signal.SIGKILL)
    await until(lambda: process_start(shim) is None)
    async with bench.worker():
        while "ADOPTED" not in await kinds_of(bench, context):
            assert process_start(pid) is not None
        gate.touch()
        assert (await bench.ended(context)).status == "ERROR"
    assert await kinds_of(bench, context) == [*ADOPTED, "ERROR"]


async def test_a_worker_stays_the_same_place_when_its_home_is_removed(store, monkeypatch):
    """No run tells the next one which place it was, but the worker itself does."""
    monkeypatch.setattr(programs, "LOOK_SECONDS", 0.05)
    async with Bench(store, Registry([])).worker():
        known = place_of(home_of_dama())
        shutil.rmtree(home_of_dama())
        await until((home_of_dama() / "place").exists)
    assert place_of(home_of_dama()) == known


@pytest.mark.parametrize("away", [removed, with_an_empty_number, moved_behind_a_link])
async def test_a_worker_that_starts_at_once_is_of_the_place_of_those_that_live(
    store, database_url, away
):
    """Though nothing runs, and nobody has written the number again."""
    bench = Bench(store, Registry([]))
    async with bench.worker():
        away(home_of_dama())
        async with bench.worker():
            with psycopg.connect(database_url) as sql:
                places = sql.execute("SELECT place FROM _data_manager_admin.worker").fetchall()
    assert [len(places), len(set(places))] == [2, 1]


def test_who_only_looks_draws_no_number_for_a_home(tmp_path):
    """It would be another one than that of the worker, which may live."""
    place_of(tmp_path / "home")
    assert not (tmp_path / "home").exists()
