"""An invocation of dbt: started with files of its own, followed, and continued where it failed.

Attempts of a run share a target folder, so that the second one is `dbt retry` of what failed or was
skipped in the first. Where that one left no results, as when it was killed, all is done again.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from dama.config.private_file import private
from dama.counts import number_of
from dama.dbt.nodes import FAILED, SKIPPED, Nodes

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

PAUSE = 0.1
PART = 1024 * 1024
RESULTS = "run_results.json"
PARSED = "partial_parse.msgpack"
KEPT = (RESULTS, "manifest.json", "catalog.json", "index.html", "static_index.html")
# What `dbt retry` takes of the options that the command has; all else it knows of the first time.
PASSED = ("--project-dir", "--profiles-dir", "--profile", "--target", "-t", "--threads")


class _Result(msgspec.Struct):
    unique_id: str
    status: str


class Results(msgspec.Struct):
    """The results that dbt has written at its end."""

    results: list[_Result] = []
    elapsed_time: float = 0

    @property
    def is_to_retry(self) -> bool:
        """Whether there is something that failed, or was skipped."""
        return any(each.status in FAILED or each.status == SKIPPED for each in self.results)


def results_in(target: Path) -> Results | None:
    """What was written there; None when nothing was."""
    try:
        return msgspec.json.decode((target / RESULTS).read_bytes(), type=Results)
    except (OSError, msgspec.DecodeError):
        return None


def retried(command: Sequence[str]) -> list[str]:
    """The command that retries what failed of another one."""
    found = [command[0], "retry"]
    rest = iter(command[1:])
    for part in rest:
        name, equals, _ = part.partition("=")
        if name in PASSED:
            found += [part] if equals else [part, next(rest, "")]
    return found


class Invocation:
    """One attempt of a run.

    Args:
        command: Of dbt, as it is declared.
        environ: That of the program, with the protocol.
    """

    def __init__(self, command: Sequence[str], environ: Mapping[str, str]) -> None:
        self._events = Path(environ["DAMA_EVENTS"])
        self._result = Path(environ["DAMA_RESULT"])
        self._artifacts = Path(environ["DAMA_ARTIFACTS"])
        # The working folder is shared with subtasks, which may be dbt, too.
        own = f"dbt-{environ['DAMA_CONTEXT_ID']}"
        self._target = Path(environ["DAMA_WORKDIR"], own, "target")
        self._logs = self._events.parent / "dbt"
        self._environ = {
            **environ,
            "DBT_TARGET_PATH": str(self._target),
            "DBT_LOG_PATH": str(self._logs),
            "DBT_LOG_FORMAT_FILE": "json",
            "DBT_LOG_LEVEL_FILE": "debug",
            "DBT_LOG_FILE_MAX_BYTES": "0",  # it is one file, however long
        }
        before = results_in(self._target)
        is_again = before is not None and before.is_to_retry
        self._command = retried(command) if is_again else [*command]
        self._nodes = Nodes(self._target / "manifest.json")

    def perform(self) -> int:
        """Run dbt to its end; return its exit code, negative for a signal.

        Raises:
            OSError: It cannot be started.
        """
        self._target.mkdir(parents=True, exist_ok=True)
        self._logs.mkdir(parents=True, exist_ok=True)
        if not (self._target / PARSED).exists():
            with suppress(OSError):  # what a release has parsed is not parsed by each run
                shutil.copy(Path("target", PARSED), self._target)
        began = time.time_ns()
        process = subprocess.Popen(self._command, env=self._environ, stdin=subprocess.DEVNULL)
        self._follow(process)
        self._keep(began)
        self._write_result()
        if process.returncode:
            self._tell_why()
        return process.returncode

    def _follow(self, process: subprocess.Popen[bytes]) -> None:
        log, rest, offset = self._logs / "dbt.log", b"", 0
        is_over = False
        while not is_over:
            is_over = process.poll() is not None
            for part in _parts(log, offset):
                offset += len(part)
                *lines, rest = (rest + part).split(b"\n")
                self._tell(event for line in lines for event in self._nodes.events(line))
            if not is_over:
                with suppress(subprocess.TimeoutExpired):
                    process.wait(PAUSE)
        # Secrets that its debug lines may have are in no file that stays.
        with suppress(OSError):
            log.unlink()

    def _tell(self, events: Iterator[Mapping[str, Any]]) -> None:
        if text := "".join(f"{json.dumps(event)}\n" for event in events):
            with open(self._events, "a", encoding="utf-8", opener=private) as file:
                file.write(text)

    def _keep(self, began: int) -> None:
        """Its documents are artifacts of the run."""
        for name in KEPT:
            with suppress(OSError):
                if (self._target / name).stat().st_mtime_ns >= began:
                    self._artifacts.mkdir(parents=True, exist_ok=True)
                    shutil.copy(self._target / name, self._artifacts)

    def _write_result(self) -> None:
        nodes = self._nodes
        result: dict[str, Any] = {
            "command": " ".join(self._command[1:]),
            "nodes": dict(sorted(Counter(nodes.statuses.values()).items())),
        }
        if nodes.messages:
            result["failed"] = nodes.messages
        with open(self._result, "w", encoding="utf-8", opener=private) as file:
            json.dump(result, file)

    def _tell_why(self) -> None:
        """Say on standard error what went wrong: dbt writes all to standard output."""
        text, messages = self._nodes.error, self._nodes.messages
        if messages:
            shown, message = next(iter(messages.items()))
            count, total = len(messages), len(self._nodes.statuses)
            text = f"{count:,} of {number_of(total, 'node')} failed, such as {shown}: {message}"
        if text:
            sys.stderr.write(" ".join(text.split()) + "\n")
            sys.stderr.flush()


def _parts(path: Path, offset: int) -> Iterator[bytes]:
    """What a file has from there on; nothing when it is not there."""
    with suppress(FileNotFoundError), path.open("rb") as file:
        os.lseek(file.fileno(), offset, os.SEEK_SET)
        while part := os.read(file.fileno(), PART):
            yield part
