"""A tree of subtasks, workers that are killed, a PostgreSQL that is killed.

What must hold at the end: each context has exactly one INITIAL and one FINAL, the counts are those
of FizzBuzz, nothing is left open, and no worker's death took long.
"""

import json
import os
import random
import signal
import subprocess
import time
from collections import Counter
from pathlib import Path
from typing import Any

import psycopg

from dama.embedded import EmbeddedPostgres
from tests.forked import Forked

POLL_SECONDS = 0.1
PROGRESS = 36  # contexts that end between two kills: on a busy machine a worker begins slowly
SERVICE = '''
"""FizzBuzz: the total is known."""
from collections import Counter
from dama import Service, SyncTask, Task

fizz = Service("fizz")

@fizz.task
async def buzz(task: Task, n: int) -> str:
    """One number."""
    word = await task.step("word", word_of, n)
    await task.step("store", stored, n, word, transactional=True)
    return word

@fizz.task
async def count(task: Task, numbers: int) -> dict[str, int]:
    """All numbers."""
    words = await task.map(buzz, [{"n": n} for n in range(1, numbers + 1)])
    return dict(Counter(words))

def word_of(n: int) -> str:
    return ("Fizz" if n % 3 == 0 else "") + ("Buzz" if n % 5 == 0 else "") or "number"

def stored(connection, n: int, word: str) -> None:
    connection.execute("INSERT INTO words VALUES (%s, %s)", [n, word])
'''
RIGHT = """
SELECT count(*) FILTER (WHERE initials <> 1), count(*) FILTER (WHERE finals <> 1), count(*)
  FROM (SELECT count(*) FILTER (WHERE type LIKE '%:INITIAL') AS initials,
               count(*) FILTER (WHERE type LIKE '%:FINAL') AS finals
          FROM _data_manager_admin.event_store_prototype GROUP BY etl_context_id) c
"""


class KilledTree:
    """Workers and a server that are killed at random, from a seed.

    Args:
        folder: For all of it; empty.
        forked: What starts the workers: none of the many that are killed pays for its imports.
        numbers: How many subtasks there are.
        workers: How many there are at a time.
        seed: Chooses who is killed.
    """

    def __init__(
        self, folder: Path, forked: Forked, *, numbers: int, workers: int, seed: int
    ) -> None:
        self.folder = folder
        self.command = forked.dama
        self.numbers = numbers
        self.random = random.Random(seed)
        self.server = EmbeddedPostgres(folder / "home")
        self.environ = {**os.environ, "DAMA_HOME": str(folder / "home")}
        self.workers: list[subprocess.Popen[bytes]] = []
        self.wanted = workers
        self.kills = 0
        (folder / "fizz.py").write_text(SERVICE)
        (folder / "dama.toml").write_text('services = ["fizz"]\n')

    def run(self, seconds: float) -> dict[str, int]:
        """Do it; give the counts that the task returned.

        Raises:
            AssertionError: Something did not hold.
        """
        context = self._begin()
        deadline = time.monotonic() + seconds
        next_kill, next_done, restarted = time.monotonic() + 1, 0, False
        while (status := self._status(context)) == "OPEN":
            assert time.monotonic() < deadline, f"not done in {seconds} s"
            if time.monotonic() > next_kill and (done := self._done()) >= next_done:
                self._kill_one()
                next_kill, next_done = time.monotonic() + 1, done + PROGRESS
            if not restarted and self.kills >= 3:
                self._restart_server()
                restarted = True
            time.sleep(POLL_SECONDS)
        assert status == "DONE", status
        return self._checked(context)

    def stop(self) -> None:
        """End what is left."""
        for worker in self.workers:
            worker.kill()
            worker.wait()
        self.server.stop()

    def _begin(self) -> int:
        self._dama("db", "migrate")
        with psycopg.connect(self.server.start(), autocommit=True) as connection:
            connection.execute("CREATE TABLE words (n int PRIMARY KEY, word text)")
            ((context,),) = connection.execute(
                "SELECT context_id FROM _data_manager_admin.start_contexts(jsonb_build_array("
                "jsonb_build_object('task', 'fizz.count', 'event', jsonb_build_object("
                "'type', 'fizz.count:INITIAL', 'payload', %s::jsonb))))",
                [json.dumps({"numbers": self.numbers})],
            ).fetchall()
        while len(self.workers) < self.wanted:
            self._start_worker()
        return context

    def _start_worker(self) -> None:
        log = (self.folder / "workers.log").open("ab")
        with log:
            self.workers.append(
                subprocess.Popen(
                    [self.command, "worker", "--slots", "8"],
                    cwd=self.folder,
                    env=self.environ,
                    stdout=log,
                    stderr=log,
                )
            )

    def _kill_one(self) -> None:
        victim = self.workers.pop(self.random.randrange(len(self.workers)))
        victim.send_signal(signal.SIGKILL)
        victim.wait()
        self.kills += 1
        self._start_worker()

    def _restart_server(self) -> None:
        pid = self.server.status().pid
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        while self.server.status().running:
            time.sleep(POLL_SECONDS)
        self.server.start()

    def _status(self, context: int) -> str | None:
        try:
            return self._ask(
                "SELECT status FROM _data_manager_admin.etl_context WHERE context_id = %s", context
            )
        except psycopg.OperationalError:
            return "OPEN"

    def _done(self) -> int:
        """How many contexts have ended; fewer than none while the server is away."""
        try:
            return self._ask(
                "SELECT count(*) FROM _data_manager_admin.etl_context WHERE status = 'DONE'"
            )
        except psycopg.OperationalError:
            return -1

    def _ask(self, query: str, *values: object) -> Any:
        with psycopg.connect(self.server.url) as connection:
            row = connection.execute(query, values).fetchone()
        return row[0] if row else None

    def _checked(self, context: int) -> dict[str, int]:
        with psycopg.connect(self.server.url) as connection:
            assert connection.execute(RIGHT).fetchone() == (0, 0, self.numbers + 1)
            words = dict(
                connection.execute("SELECT word, count(*) FROM words GROUP BY 1").fetchall()
            )
            ((left,),) = connection.execute(
                "SELECT count(*) FROM _data_manager_admin.run_queue"
            ).fetchall()
            ((result,),) = connection.execute(
                "SELECT payload FROM _data_manager_admin.event_store_prototype"
                " WHERE etl_context_id = %s ORDER BY version DESC LIMIT 1",
                [context],
            ).fetchall()
        assert left == 0, f"{left} runs are left"
        assert words == result, "a step's rows were doubled or lost"
        return result

    def _dama(self, *arguments: str) -> None:
        subprocess.run([self.command, *arguments], cwd=self.folder, env=self.environ, check=True)


def fizzbuzz(numbers: int) -> dict[str, int]:
    """What the counts must be."""
    return dict(
        Counter(
            ("Fizz" if n % 3 == 0 else "") + ("Buzz" if n % 5 == 0 else "") or "number"
            for n in range(1, numbers + 1)
        )
    )
