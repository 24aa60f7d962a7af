"""The facts of a run: what the function of a task may know of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from dama.run.execution import Execution


class RunFacts:
    """What a task knows of its run."""

    def __init__(self, execution: Execution) -> None:
        self._execution = execution

    @property
    def context_id(self) -> int:
        """The context whose task it is."""
        return self._execution.claim.context_id

    @property
    def parent_id(self) -> int | None:
        """The context that started it; None at the top."""
        return self._execution.claim.parent_id

    @property
    def root_id(self) -> int:
        """The topmost ancestor."""
        return self._execution.claim.root_context_id

    @property
    def name(self) -> str:
        """The full name, such as `flights.load`."""
        return self._execution.claim.task

    @property
    def attempt(self) -> int:
        """1 for the first, one more after each failure; a worker that dies or stops is none."""
        return self._execution.attempt

    @property
    def work_dir(self) -> Path:
        """A folder of the whole tree on this host, kept over retries and cleaned when it ended."""
        return self._execution.work_dir()

    @property
    def params(self) -> Mapping[str, Any]:
        """The params as they are stored."""
        return self._execution.claim.params
