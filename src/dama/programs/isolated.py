"""Isolated runs: tasks in Python with a process of their own, followed as programs are.

Its events it writes itself, with the epoch that it began with; the worker, whichever it is by then,
writes its beginning and its end. See `fork_server` and `own_process`.
"""

from __future__ import annotations

import asyncio
import logging
import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from typing_extensions import override

from dama.domain.exact import to_builtins
from dama.domain.exit import complaint
from dama.domain.outcome import Done, Outcome
from dama.programs.environment import inherited_by_python
from dama.programs.fork_server import ForkServerGoneError
from dama.programs.launch import Launch
from dama.programs.looking import seen
from dama.programs.program import ProgramRun
from dama.programs.reported import outcome_in
from dama.programs.run_log import level_of_runs
from dama.programs.shim.supervisor import TIMED_OUT
from dama.run.errors import ProgramError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dama.shapes import Json

_log = logging.getLogger("dama.worker")


class IsolatedRun(ProgramRun):
    """One run of a task in a process of its own."""

    _is_waiting = False

    @override
    async def _launch(self) -> Launch:
        claim = self._execution.claim
        # Its own epoch is that of the directory for good, whoever starts it and adopts it later.
        own = replace(claim, epoch=self._directory.epoch)
        self._directory.write("claim.json", to_builtins(own))
        protocol = await self._protocol()
        environment = {**inherited_by_python(os.environ), **protocol}
        return Launch([claim.task], environment, str(Path.cwd()), self._task.options.timeout)

    @override
    async def _spawn(self, launch: Launch, lock: int) -> int | None:
        self._directory.write("spec.json", launch.spec(self._directory.epoch))
        database = self._programs.store.database
        claim = self._execution.claim
        request = {
            "task": claim.task,
            "directory": str(self._directory.path),
            "environment": dict(launch.environment),
            "conninfo": database.conninfo,
            "is_pooled": database.is_pooled,
            "log_level": level_of_runs(),
            "park_after": self._execution.pending.park_after,
            "work_dir": str(self._programs.directories.work(claim.root_context_id)),
        }
        # It continues when this run is cancelled meanwhile, and needs the lock till then.
        own = os.dup(lock)

        def fork() -> int:
            try:
                return self._programs.fork_server.fork(request, own)
            finally:
                os.close(own)

        try:
            return await asyncio.to_thread(fork)
        except ForkServerGoneError as error:
            _log.warning("context %s: %s", self._execution.claim.context_id, error)
            return None

    @override
    async def perform(self) -> Outcome:
        try:
            return await super().perform()
        finally:
            self._look_in(is_over=True)

    @override
    def _look_in(self, *, is_over: bool = False) -> None:
        is_waiting = not is_over and os.path.exists(self._directory.waiting)  # noqa: PTH110 - raises nothing
        if is_waiting is not self._is_waiting:
            self._is_waiting = is_waiting
            self._execution.pending.count_waiting(1 if is_waiting else -1)

    @override
    async def _outcome(self, report: Mapping[str, Json] | None) -> Outcome:
        if (document := await seen(self._directory.outcome)) is not None:
            return outcome_in(document)
        if report is not None and report["why"] == TIMED_OUT:
            raise TimeoutError(complaint(self._exit(report)))
        outcome = await super()._outcome(report)
        if isinstance(outcome, Done):  # it ended itself, as with os._exit(0)
            raise ProgramError(f"{self._execution.claim.task} ended without a result.")
        return outcome
