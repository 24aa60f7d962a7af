"""The files of batch jobs: found in the homes of jobs that are seen from here."""

import json
from pathlib import Path

import pytest

from dama.app import App
from dama.config.config import load_config
from dama.definitions.registry import Registry
from dama.launchers.settings import folders_of_jobs
from dama.operations import contexts, run_files
from dama.run.errors import NoLogsError
from dama.store import Start


def job(folder: Path, identity: str, run: tuple[int, int], **files: object) -> None:
    """What the run of a job has left in its home."""
    path = folder / f"job-{run[1]}" / "runs" / identity / str(run[0]) / str(run[1])
    path.mkdir(parents=True)
    (path / "stdout").write_text(f"epoch {run[1]}\n")
    for name, document in files.items():
        (path / f"{name}.json").write_text(json.dumps(document))


async def test_the_files_of_jobs_are_those_of_their_contexts(store, tmp_path):
    """Of the home and of each launcher; what another database has there is not shown."""
    app = App(store, Registry(), tmp_path / "home")
    app.jobs = [tmp_path / "home/jobs", tmp_path / "shared/jobs", tmp_path / "not-there/jobs"]
    first, second = await store.start([Start("a.b", {})] * 2)
    identity = await store.database.identity()
    job(app.jobs[1], identity, (first, 3))
    job(app.jobs[0], identity, (first, 12))
    job(tmp_path / "home/jobs", "another-database", (first, 4))

    assert [run.epoch for run in await run_files.runs_of(app, first)] == [3, 12]
    assert [line async for line in run_files.lines_of(app, first)] == ["epoch 12"]
    with pytest.raises(NoLogsError):
        await run_files.runs_of(app, second)


async def test_a_run_on_another_machine_goes_on_until_its_files_or_the_database_say_so(
    store, tmp_path
):
    """Its processes cannot be seen from here, and a node that is lost writes no end."""
    app = App(store, Registry(), tmp_path / "home")
    ids = await store.start([Start("a.b", {})] * 2)
    afar = {"pid": {"pid": 4, "started": "5", "boot_id": "of a node"}}
    for context in ids:
        job(app.jobs[0], await store.database.identity(), (context, 0), **afar)
    is_over, is_lost = [await run_files.run_of(app, context) for context in ids]
    assert [await run_files.is_going_on(app, run) for run in (is_over, is_lost)] == [True, True]

    (is_over.path / "exit.json").write_text('{"code": 0}')
    await contexts.cancel(app, is_lost.context_id)

    assert [await run_files.is_going_on(app, run) for run in (is_over, is_lost)] == [False, False]


def test_the_folders_are_those_of_the_settings(tmp_path, monkeypatch):
    """Whatever else a launcher has wrong, logs can be read."""
    monkeypatch.setenv("DAMA_HOME", str(tmp_path / "home"))
    (tmp_path / "dama.toml").write_text(
        '[launchers.a]\nkind = "slurm"\nfiles = "/shared"\n'
        '[launchers.b]\nfiles = "beside"\nlook = 3\n[launchers.c]\nfiles = 7\n'
    )
    monkeypatch.chdir(tmp_path)

    folders = folders_of_jobs(load_config())

    assert folders == [tmp_path / "home/jobs", Path("/shared/jobs"), tmp_path / "beside/jobs"]
