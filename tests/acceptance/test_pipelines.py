"""The pipelines of examples/pipelines: to their results, and to the same through any crashes.

`make replay` kills each of them fifty times.
"""

import asyncio
import json
import os
import re
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from itertools import count
from random import Random
from threading import Thread
from urllib.parse import parse_qs, urlsplit

import psycopg
import pytest

from dama.definitions.registry import Registry
from dama.run.subtasks import Endings
from dama.store import Store
from dama.testing import run
from dama.worker.worker import Worker
from examples.pipelines import invoices, months, readings

ENVIRON = dict(os.environ)  # before a fixture takes these out
CRASHES = 50 if "REPLAY_PROGRAMS" in ENVIRON else 10
SEED = int(ENVIRON.get("REPLAY_SEED", "1"))
AT_ONCE = 3  # of the crashes in one run

READINGS = [[number, number / 4] for number in range(1, 48)]
PAGE = 10
ALL_MONTHS = [f"{year}-{month:02}" for year in (2011, 2012, 2013) for month in range(1, 13)]
BROKEN = ["2011-07", "2013-02"]
MONTHS = [month for month in ALL_MONTHS if month not in BROKEN]
SALES = [[month, f"{month}-{day:02}", f"{day}.50"] for month in MONTHS for day in range(1, 6)]
DAYS = ["2013-01-29", "2013-01-30", "2013-01-31"]
ANSWERS = [{"approval": {"approved": True}}, {"approval": {"approved": False}}, {}]
ORDERS = [("ann", "EUR", 10), ("ann", "EUR", 5), ("bob", "USD", 100), ("eve", "GBP", 7)]
INVOICES = [
    [DAYS[0], "ann", "15.00", True],
    [DAYS[0], "bob", "73.66", True],
    [DAYS[0], "eve", "8.16", True],
]


@pytest.fixture
def connection(database_url):
    """To look, and for what the pipelines find."""
    with psycopg.connect(database_url, autocommit=True) as connection:
        yield connection


@contextmanager
def flaky_api(upto):
    """Readings over HTTP: each third request fails, and each fifth is told to come later."""
    requests = count(1)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            number = next(requests)
            if number % 3 == 0:
                self.send_error(503)
            elif number % 5 == 0:
                self.send_response(429)
                self.send_header("Retry-After", "120")
                self.end_headers()
            else:
                after = int(parse_qs(urlsplit(self.path).query)["after"][0])
                body = json.dumps(READINGS[after : upto[0]][:PAGE]).encode()
                self.send_response(200)
                self.end_headers()
                self.wfile.write(body)

        def log_message(self, *_):
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = Thread(target=server.serve_forever, args=[0.01])
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/readings"
        finally:
            server.shutdown()
            thread.join()


class Readings:
    """The API gets more between two runs, and nothing before the third."""

    table = "readings"
    expected = READINGS
    ends = ("23", "0", "24")

    def __init__(self, folder):
        pass

    def prepare(self, connection):
        connection.execute("DROP TABLE IF EXISTS readings")

    def perform(self, url, crashes):
        upto = [23]
        with flaky_api(upto) as api:
            for upto[0] in (23, 23, 47):
                yield run(readings.load, {"url": api}, database=url, crash_after=crashes())


class Months:
    """Three years, two months of which are broken."""

    table = "sales"
    expected = SALES
    ends = (r"rows=170 failed=\{'2011-07': .*fifty.* '2013-02': .*fifty.*\}",)

    def __init__(self, folder):
        self.folder = folder
        for month in ALL_MONTHS:
            cents = "fifty" if month in BROKEN else "50"
            rows = [f"{month},{month}-{day:02},{day}.{cents}" for day in range(1, 6)]
            text = "\n".join(["month,date,amount", *rows, ""])
            (folder / f"{month}.csv").write_text(text)

    def prepare(self, connection):
        connection.execute("DROP TABLE IF EXISTS sales")

    def perform(self, url, crashes):
        params = {"folder": str(self.folder)}
        yield run(months.load, params, database=url, crash_after=crashes())


class Invoices:
    """One day is approved, another refused, and of the third nobody says anything."""

    table = "invoices"
    expected = INVOICES
    ends = ("3", "0", ".* and none came.")

    def __init__(self, folder):
        pass

    def prepare(self, connection):
        connection.execute("DROP TABLE IF EXISTS orders, invoices")
        connection.execute(
            "CREATE TABLE orders (day date, customer text, currency text, amount numeric)"
        )
        connection.execute(
            "CREATE TABLE invoices (day date, customer text, amount numeric, published bool)"
        )
        with connection.cursor() as cursor:
            for day in DAYS:
                cursor.executemany(
                    "INSERT INTO orders VALUES (%s, %s, %s, %s)", [(day, *each) for each in ORDERS]
                )

    def perform(self, url, crashes):
        for day, signals in zip(DAYS, ANSWERS, strict=True):
            yield run(
                invoices.publish,
                {"day": day},
                database=url,
                signals=signals,
                advance="4d",
                crash_after=crashes(),
            )
        asyncio.run(clean_up(url))


async def clean_up(url):
    """Perform what the third day left behind it: a tree of its own."""
    registry = Registry([invoices.invoices])
    async with Store.opened(url) as store, Worker(store, registry).working(), asyncio.timeout(30):
        contexts = await store.contexts(task=invoices.withdraw.name, limit=1000)
        ids = [row.context_id for row in contexts]
        await Endings(store, lambda: None).wait(ids, fail_fast=False)


def ends(ran):
    """How runs have ended, whatever the numbers of their contexts are."""
    results = [each.result if each.status == "DONE" else each.error["message"] for each in ran]
    return [re.sub(r"[Cc]ontext \d+", "context", str(result)) for result in results]


def rows(connection, table):
    return sorted([str(value) for value in row] for row in connection.execute(f"TABLE {table}"))


# Its thread reads files, and is stopped wherever it is, also between `open()` and its `with`.
MONTHS = pytest.param(
    Months, marks=pytest.mark.filterwarnings("ignore:unclosed file:ResourceWarning")
)


@pytest.mark.timeout(60 + 10 * CRASHES)
@pytest.mark.parametrize("pipeline", [Readings, MONTHS, Invoices])
def test_a_pipeline_comes_to_the_same_through_any_crashes(
    pipeline, connection, database_url, tmp_path
):
    pipeline = pipeline(tmp_path)
    pipeline.prepare(connection)
    through = [*pipeline.perform(database_url, list)]
    expected = sorted([str(value) for value in row] for row in pipeline.expected)
    for end, pattern in zip(ends(through), pipeline.ends, strict=True):
        assert re.fullmatch(pattern, end)
    assert rows(connection, pipeline.table) == expected

    written = sum(row.version for ran in through for row in ran.tree) // len(through)
    random, deaths = Random(SEED), 0
    while deaths < CRASHES:
        pipeline.prepare(connection)
        killed = [
            *pipeline.perform(
                database_url, lambda: sorted(random.sample(range(1, written), AT_ONCE))
            )
        ]
        deaths += sum(ran.deaths for ran in killed)
        assert ends(killed) == ends(through)
        assert rows(connection, pipeline.table) == expected
