"""Resources: what a run needs of the machine that an engine places it on."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, replace
from datetime import timedelta
from typing import Any, TypedDict

from dama.config.duration import Duration, parse_duration
from dama.config.table import Table

MOST_RETRIES = 10  # a thousand times the memory


@dataclass(frozen=True)
class Resources:
    """What a run needs; None for what the engine gives without being asked.

    Attributes:
        cpus: Processors.
        memory: Bytes.
        gpus: Graphics processors.
        time: Seconds that its job may take.
        retry_memory: How often a run that had too little memory is placed again, each time with
            twice as much.
        pending_timeout: Seconds that its job may wait for its place; then the run has failed.
        image: The image of its container, instead of that of the launcher.
    """

    cpus: int | None = None
    memory: int | None = None
    gpus: int | None = None
    time: float | None = None
    retry_memory: int | None = None
    pending_timeout: float | None = None
    image: str | None = None

    def after_memory_losses(self, losses: int) -> Resources:
        """What is asked for when so often there was too little memory."""
        return self if self.memory is None else replace(self, memory=self.memory << losses)

    @property
    def minutes(self) -> int | None:
        """The time in whole minutes, at least one."""
        return None if self.time is None else max(math.ceil(self.time / 60), 1)

    @property
    def megabytes(self) -> int | None:
        """The memory in MiB, at least one."""
        return None if self.memory is None else max(math.ceil(self.memory / 2**20), 1)

    def given(self) -> dict[str, Any]:
        """Those that are there."""
        return {name: value for name, value in asdict(self).items() if value is not None}


NOTHING_ASKED = Resources()


class ResourceSettings(TypedDict, total=False):
    """What may be written as `resources`."""

    cpus: int
    memory: int | str
    gpus: int
    time: Duration
    retry_memory: int
    pending_timeout: Duration
    image: str


def read_resources(task: str, values: object) -> Resources:
    """Check the resources of a task.

    Raises:
        InvalidDefinitionError: One is unknown or makes no sense; the task is named.
    """
    table = Table(f"{task}: resources", values, ResourceSettings.__annotations__)
    asked = Resources(
        table.number("cpus", 1),
        table.size("memory"),
        table.number("gpus", 1),
        _seconds(table, "time"),
        table.number("retry_memory", 1, MOST_RETRIES),
        _seconds(table, "pending_timeout"),
        table.text("image"),
    )
    if asked.retry_memory and asked.memory is None:
        table.wrong("retry_memory", "memory beside it, which is doubled")
    return asked


def _seconds(table: Table, key: str) -> float | None:
    wanted = 'seconds, or a string such as "45s", "30m", "1h30m"'
    value: Any = table.value(key, (int, float, str, timedelta), wanted, None)
    return None if value is None else parse_duration(value, of=f"{table.where}.{key}")
