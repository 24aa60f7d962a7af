"""Killing: SIGKILL for a real `dama` process, at a moment that the database shows.

The product has no hooks for this. A test says which moment it wants as a question to the database,
asked again and again from outside. When the answer is yes the process is frozen first (SIGSTOP),
so that nothing moves while the question is asked once more, and killed then. A moment that was
over already is let go, and the next one is awaited.
"""

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self

import psycopg

DAMA = Path(sys.executable).with_name("dama")
PROJECT = Path(__file__).parents[2]
POLL_SECONDS = 0.002

Moment = Callable[[], bool]


class NeverHappenedError(AssertionError):
    """The process ended, or time was up, before the moment came."""


class Program:
    """A `dama` command in a process group of its own; leaving the `with` block ends it."""

    def __init__(self, url: str, *arguments: str) -> None:
        # A file takes any amount; a full pipe that nobody reads would stop the process.
        self._output = tempfile.TemporaryFile()  # noqa: SIM115 - __exit__ closes it
        self._process = subprocess.Popen(
            [DAMA, *arguments],
            cwd=PROJECT,
            env={**os.environ, "DAMA_DATABASE_URL": url},
            stdin=subprocess.DEVNULL,
            stdout=self._output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.kill()
        self._output.close()

    @property
    def ended(self) -> bool:
        return self._process.poll() is not None

    def finish(self, seconds: float = 120) -> tuple[int, str]:
        """Wait for the end; return the exit code and what was printed, both streams."""
        status = self._process.wait(seconds)
        self._output.seek(0)
        return status, self._output.read().decode()

    def kill(self) -> None:
        if not self.ended:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()

    def kill_when(self, moment: Moment, *, seconds: float = 60) -> bool:
        """Kill the process while the moment holds.

        Returns:
            False when the process ended by itself before the moment came.

        Raises:
            NeverHappenedError: The process still runs, but the moment did not come in time.
        """
        deadline = time.monotonic() + seconds
        while not self.ended:
            if moment() and self._freeze():
                if moment():
                    self.kill()
                    return True
                os.killpg(self._process.pid, signal.SIGCONT)
            if time.monotonic() > deadline:
                raise NeverHappenedError(f"The moment did not come within {seconds} s.")
            time.sleep(POLL_SECONDS)
        return False

    def _freeze(self) -> bool:
        """Stop every thread; return when the kernel says so: signals take a while to arrive."""
        os.killpg(self._process.pid, signal.SIGSTOP)
        # WNOWAIT leaves the news of an end to Popen, which would miss it otherwise.
        os.waitid(os.P_PID, self._process.pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)
        return not self.ended


class Moments:
    """Questions to the database for `Program.kill_when`, over a connection of their own.

    Args:
        url: The database that the program works on.
    """

    def __init__(self, url: str) -> None:
        self._connection = psycopg.connect(url, autocommit=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._connection.close()

    def another_step_is_done(self) -> Moment:
        """A step is recorded that is not yet now: the boundary after it."""
        query = """
            SELECT count(*) FROM _data_manager_admin.event_store_prototype
            WHERE type LIKE '%:DONE'
        """
        done = self._count(query)
        return lambda: self._count(query) > done

    def rows_are_copied_into(self, table: str) -> Moment:
        """A COPY into a table of this name has taken rows and is not at its end."""
        query = """
            SELECT count(*)
            FROM pg_stat_progress_copy AS copies
            JOIN pg_class AS tables ON tables.oid = copies.relid
            WHERE copies.datname = current_database() AND copies.tuples_processed > 0
              AND tables.relname = %s
        """
        return lambda: self._count(query, table) > 0

    def somebody_waits_for(self, table: str) -> Moment:
        """A session waits for a lock on a table, which is named with its schema."""
        query = "SELECT count(*) FROM pg_locks WHERE relation = to_regclass(%s) AND NOT granted"
        return lambda: self._count(query, table) > 0

    def _count(self, query: str, *arguments: str) -> int:
        return self._connection.execute(query, arguments or None).fetchone()[0]
