"""`dama db adopt` of 5,000,000 events of the first system, beside programs that write.

It is compared with what the server needs to read the same rows once and write them once (COPY to
a client, INSERT ... SELECT with the same two keys), in the same run. Targets: 5 minutes, and no
INSERT of a program waits for a lock for half a second; on a busy machine one may wait longer for
its turn. `python -m benchmarks.adopt --small` takes a tenth. Takes 5 GB of disk while it runs.
"""

import asyncio
import sys
import tempfile
import threading
import time
from pathlib import Path

import psycopg

from benchmarks import MISSED
from dama.embedded import EmbeddedPostgres
from dama.store.adoption.adopt import adopt

CONTEXTS, EVENTS = 500_000, 10
WRITERS = 2
TABLES = """
CREATE SCHEMA _data_manager_admin;
CREATE TABLE _data_manager_admin.etl_context (
  context_id serial PRIMARY KEY,
  parent_id int REFERENCES _data_manager_admin.etl_context ON DELETE CASCADE);
CREATE TABLE _data_manager_admin.event_store_prototype (
  event_id serial PRIMARY KEY,
  etl_context_id int NOT NULL REFERENCES _data_manager_admin.etl_context ON DELETE CASCADE,
  type text NOT NULL, payload jsonb, meta jsonb, error boolean);
INSERT INTO _data_manager_admin.etl_context (parent_id)
  SELECT CASE WHEN i % 5 <> 1 THEN i - (i - 1) % 5 END FROM generate_series(1, {contexts}) i;
INSERT INTO _data_manager_admin.event_store_prototype (etl_context_id, type, payload, meta)
  SELECT c,
         CASE e WHEN 1 THEN 'etl.load:INITIAL' WHEN {events} THEN 'etl.load:FINAL' ELSE ':STEP' END,
         jsonb_build_object('step', e),
         jsonb_build_object('timestamp', '2022-03-04T05:06:07.' || e % 10 || '00Z')
    FROM generate_series(1, {events}) e, generate_series(1, {contexts}) c;
"""
PLAIN = """
CREATE TABLE copied (LIKE _data_manager_admin.event_store_prototype INCLUDING DEFAULTS);
INSERT INTO copied SELECT * FROM _data_manager_admin.event_store_prototype;
ALTER TABLE copied ADD PRIMARY KEY (event_id);
CREATE INDEX ON copied (etl_context_id, event_id);
"""
NEW_CONTEXT = """
INSERT INTO _data_manager_admin.etl_context (parent_id) VALUES (NULL) RETURNING context_id
"""
NEW_EVENT = """
INSERT INTO _data_manager_admin.event_store_prototype (etl_context_id, type, payload)
  VALUES (%s, %s, '{}')
"""

PROGRAM = "a program of the first system"
WAITING = """
SELECT coalesce(max(extract(epoch FROM clock_timestamp() - l.waitstart)), 0)
  FROM pg_locks l JOIN pg_stat_activity a USING (pid)
  WHERE NOT l.granted AND a.application_name = %s
"""


class Writer:
    """A program of the first system: it knows nothing of what happens.

    Attributes:
        written: How many events it has written.
        longest: The longest that one of them took, in seconds.
    """

    def __init__(self, url: str) -> None:
        self.written = 0
        self.longest = 0.0
        self._url = url
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._write)

    def _write(self) -> None:
        with psycopg.connect(self._url, autocommit=True, application_name=PROGRAM) as connection:
            while not self._stop.wait(0.01):
                begun = time.perf_counter()
                (context,) = connection.execute(NEW_CONTEXT).fetchone() or (0,)
                for suffix in ("INITIAL", "STEP", "FINAL"):
                    connection.execute(NEW_EVENT, [context, f"etl.load:{suffix}"])
                self.written += 3
                self.longest = max(self.longest, time.perf_counter() - begun)

    def start(self) -> None:
        """Begin to write."""
        self._thread.start()

    def stop(self) -> None:
        """Write no more."""
        self._stop.set()
        self._thread.join()


class Locks:
    """How long programs wait for locks.

    Attributes:
        longest: The longest wait that was seen, in seconds.
        at: When that was, by time.perf_counter().
    """

    def __init__(self, url: str) -> None:
        self.longest = 0.0
        self.at = 0.0
        self._url = url
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._look)

    def _look(self) -> None:
        with psycopg.connect(self._url, autocommit=True) as connection:
            while not self._stop.wait(0.02):
                (seconds,) = connection.execute(WAITING, [PROGRAM]).fetchone() or (0,)
                if float(seconds) > self.longest:
                    self.longest, self.at = float(seconds), time.perf_counter()

    def start(self) -> None:
        """Begin to look."""
        self._thread.start()

    def stop(self) -> None:
        """Look no more."""
        self._stop.set()
        self._thread.join()


def plain(url: str) -> float:
    """Seconds in which the server reads the rows once, and writes them once with two indexes."""
    with psycopg.connect(url, autocommit=True) as connection:
        begun = time.perf_counter()
        query = "COPY _data_manager_admin.event_store_prototype TO STDOUT"
        with connection.cursor().copy(query) as rows:
            for _ in rows:
                pass
        connection.execute(PLAIN)
        seconds = time.perf_counter() - begun
        connection.execute("DROP TABLE copied")
    return seconds


def measure(url: str, contexts: int) -> int:
    """Measure and print; returns the exit code."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(TABLES.format(contexts=contexts, events=EVENTS).encode())
        connection.execute("VACUUM ANALYZE")
    alone = plain(url)
    writers = [Writer(url) for _ in range(WRITERS)]
    locks = Locks(url)
    for each in (*writers, locks):
        each.start()
    begun = time.perf_counter()
    steps: list[tuple[float, str]] = []
    try:
        done = asyncio.run(adopt(url, lambda what: steps.append((time.perf_counter(), what))))
    finally:
        for each in (*writers, locks):
            each.stop()
    seconds = time.perf_counter() - begun
    for (at, what), (end, _) in zip(steps, [*steps[1:], (begun + seconds, "")], strict=True):
        if end - at > seconds / 50:
            print(f"  {end - at:6.1f} s  {what}")
    longest = max(each.longest for each in writers)
    meanwhile = next((what for at, what in reversed(steps) if at <= locks.at), "looks at all rows")
    most = 300 * contexts / CONTEXTS
    print(
        f"{contexts * EVENTS:,} events were adopted in {seconds:.0f} s (target: {most:.0f} s), "
        f"{seconds / alone:.1f} times a COPY and an INSERT of them"
    )
    print(
        f"longest wait for a lock of {sum(each.written for each in writers):,} INSERTs beside: "
        f"{locks.longest * 1000:.0f} ms (target: 500 ms), when it {meanwhile}; "
        f"the longest four in a row took {longest * 1000:.0f} ms"
    )
    is_short = locks.longest <= 0.5  # noqa: PLR2004
    return 0 if done.is_whole and seconds <= most and is_short else MISSED


def main(arguments: list[str]) -> int:
    """Measure and print."""
    contexts = CONTEXTS // (10 if "--small" in arguments else 1)
    with tempfile.TemporaryDirectory() as folder:
        server = EmbeddedPostgres(Path(folder))
        try:
            return measure(server.start(), contexts)
        finally:
            server.stop()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
