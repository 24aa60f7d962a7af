"""Resources: what a run needs of the machine that an engine places it on."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from datetime import timedelta
from typing import Any, TypedDict

from dama.config.duration import Duration, parse_duration
from dama.config.table import Table


@dataclass(frozen=True)
class Resources:
    """What a run needs; None for what the engine gives without being asked.

    Attributes:
        cpus: Processors.
        memory: Bytes.
        gpus: Graphics processors.
        time: Seconds that its job may take.
    """

    cpus: int | None = None
    memory: int | None = None
    gpus: int | None = None
    time: float | None = None

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


def read_resources(task: str, values: object) -> Resources:
    """Check the resources of a task.

    Raises:
        InvalidDefinitionError: One is unknown or makes no sense; the task is named.
    """
    table = Table(f"{task}: resources", values, ResourceSettings.__annotations__)
    wanted = 'seconds, or a string such as "45s", "30m", "1h30m"'
    time: Any = table.value("time", (int, float, str, timedelta), wanted, None)
    return Resources(
        table.number("cpus", 1),
        table.size("memory"),
        table.number("gpus", 1),
        None if time is None else parse_duration(time, of=f"{task}: resources.time"),
    )
