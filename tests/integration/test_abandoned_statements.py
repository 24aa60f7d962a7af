"""The statement of a program that was ended ends with it, whatever its session is called."""

import os
import shutil
import signal
import sys
from pathlib import Path

import psycopg
import pytest

from dama.programs.programs import directories_of
from tests.integration.programs import until
from tests.integration.test_programs import Programs

OWN_NAME = "an application of its own"
PSYCOPG = f"""
import os, psycopg
with psycopg.connect(os.environ["DATABASE"], application_name={OWN_NAME!r}) as connection:
    connection.execute("LOCK TABLE held; SELECT pg_sleep(600)")
"""
psql = shutil.which("psql")
PSQL = [
    "psql", "-X", "-c", f"SET application_name = '{OWN_NAME}'", "-c",
    "BEGIN; LOCK TABLE held; SELECT pg_sleep(600)",
]  # fmt: skip
SCRIPTS = {
    "psql": [*PSQL[:2], "-d", "{url}", *PSQL[2:]],
    "psycopg": [sys.executable, "-c", PSYCOPG],
    "a shell that is deaf": [
        "sh",
        "-c",
        'trap \'\' TERM; psql -X -d "$DATABASE" "$@"',
        "sh",
        *PSQL[2:],
    ],
}


@pytest.fixture
async def bench(store, tmp_path, database_url, monkeypatch):
    """Programs that may connect; none is left behind."""
    monkeypatch.setenv("DATABASE", database_url)
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute("CREATE TABLE held ()")
    bench = Programs(store, tmp_path)
    yield bench
    runs = await directories_of(store, Path(os.environ["DAMA_HOME"]))
    for directory in runs.open():
        for pid in (directory.shim(), directory.pid()):
            if pid is not None:
                os.kill(pid, signal.SIGKILL)


@pytest.mark.parametrize("way", SCRIPTS)
@pytest.mark.parametrize("end", ["cancel", "kill"])
async def test_no_statement_outlives_its_program(bench, database_url, way, end):
    """Nor do its locks: the next program would wait for them."""
    if psql is None and way != "psycopg":
        pytest.skip("there is no psql")
    command = [part.replace("{url}", database_url) for part in SCRIPTS[way]]
    task = bench.declare("long", "", command=command, inherit=["DATABASE"], grace="0.2s")
    context = await bench.start(task)
    with psycopg.connect(database_url, autocommit=True) as watch:

        def statements():
            found = watch.execute(
                "SELECT count(*) FROM pg_stat_activity WHERE application_name = %s"
                " AND query LIKE %s AND state = 'active'",
                [OWN_NAME, "%pg_sleep(600)%"],
            )
            return found.fetchone()[0]

        async with bench.worker():
            await until(statements)
            directory = await bench.directory(context)
            if end == "cancel":
                await bench.store.cancel([context], "enough", {})
            else:
                os.kill(directory.shim(), signal.SIGKILL)
                os.killpg(directory.pid(), signal.SIGKILL)
            await until(lambda: not statements())
            watch.execute("SET lock_timeout = '30s'")
            watch.execute("DROP TABLE held")
