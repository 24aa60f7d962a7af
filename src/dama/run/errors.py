"""Errors that a task's function can meet, and the two signals that end a run from within."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dama.domain.exit import ProgramError, ProgramLostError
from dama.domain.retries import Retry
from dama.errors import DamaError, NotFoundError, UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from dama.shapes import Json

__all__ = [
    "DivergedError",
    "LostSignal",
    "NoLogsError",
    "ParkSignal",
    "ProgramError",
    "ProgramLostError",
    "ReportedError",
    "Retry",
    "RunError",
    "StepFailedError",
    "SubtaskError",
    "TaskUsageError",
    "UnawaitedError",
    "UnknownRunError",
    "WaitTimeoutError",
]


class RunError(DamaError):
    """A task failed for good or was cancelled.

    Attributes:
        context_id: Its context.
        task: Its full name.
        data: The payload of its error.
        status: ERROR or CANCELLED.
    """

    code = "RUN"
    exit_code = 1

    def __init__(
        self,
        context_id: int,
        task: str,
        error: Mapping[str, Any] | None,
        status: str | None = "ERROR",
    ) -> None:
        self.context_id = context_id
        self.task = task
        self.status = status or "ERROR"
        self.data = dict(error or {})
        self.data.pop("stack", None)
        happened = "was cancelled" if status == "CANCELLED" else "failed"
        why = ": ".join(str(self.data[part]) for part in ("name", "message") if self.data.get(part))
        super().__init__(
            f"{task} (context {context_id}) {happened}{why and f': {why}'}",
            f"`dama show {context_id}` shows where.",
        )


class SubtaskError(RunError):
    """A subtask failed for good or was cancelled."""

    code = "SUBTASK"


class TaskUsageError(UsageError):
    """A task's function used its task in a way that cannot work."""

    code = "TASK_USAGE"


class DivergedError(TaskUsageError):
    """The code of a task does not match what its run has recorded.

    Attributes:
        recorded: What the run did.
        found: What the code does instead.
    """

    code = "DIVERGED"
    is_final = True

    def __init__(self, recorded: str, found: str) -> None:
        self.recorded, self.found = recorded, found
        super().__init__(
            "The code has changed under a run that continues from its record. "
            f"Recorded: {recorded}. Found: {found}.",
            "Bring the old code back and resume the run, start the task again, or accept the "
            'change: `await task.changed("why")` before it in the code, and resume.',
        )


class UnawaitedError(TaskUsageError):
    """A task's function has returned and left out an `await`."""

    code = "UNAWAITED"
    is_final = True

    def __init__(self, asks: Sequence[str]) -> None:
        others = f" ({len(asks) - 1} more like it)" if len(asks) > 1 else ""
        super().__init__(
            f"{asks[0]} was never awaited, so it was not done{others}.",
            f"Write `await {asks[0]}`.",
        )


class StepFailedError(DamaError):
    """A step failed in an earlier run, with an error whose class cannot be found any more."""

    code = "STEP_FAILED"
    exit_code = 1

    def __init__(self, name: str, message: str) -> None:
        self.name = name
        super().__init__(f"{name}: {message}")


class WaitTimeoutError(DamaError):
    """A signal did not come in time."""

    code = "WAIT_TIMEOUT"
    exit_code = 1

    def __init__(self, context_id: int, type_: str, timeout: float) -> None:
        super().__init__(
            f"Context {context_id} waited {timeout:g} s for an event {type_}, and none came.",
            f"`dama emit {context_id} {type_}` would have been it.",
        )


class ReportedError(Exception):
    """An error that a run in a process of its own met.

    Attributes:
        payload: What its event tells.
        failed_with: The keys of the steps that it came from.
    """

    def __init__(self, payload: Mapping[str, Json], failed_with: Sequence[str] = ()) -> None:
        super().__init__(payload["message"])
        self.payload = dict(payload)
        self.failed_with = list(failed_with)


class UnknownRunError(UsageError):
    """A context ran no program in this run on this host."""

    code = "UNKNOWN_RUN"


class NoLogsError(NotFoundError):
    """There are no files of a program, or none on this host."""

    code = "NO_LOGS"


class ParkSignal(BaseException):
    """Unwinds a run that waits for so long that it should not stay in memory."""


class LostSignal(BaseException):
    """Unwinds a run whose context was taken over by another worker."""
