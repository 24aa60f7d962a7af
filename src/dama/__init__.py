"""dama: the DataManager Controller, ETL tasks on PostgreSQL with their whole history.

This is the public API: what tasks are written with. Each name is imported when it is first used,
so that importing the package costs nothing.
"""

from __future__ import annotations

from importlib import import_module

TYPE_CHECKING = False  # as in typing, which takes longer to import than all of this
if TYPE_CHECKING:
    from dama.broker.broker import Broker
    from dama.broker.call import Call
    from dama.broker.errors import CallError
    from dama.broker.options import BrokerOptions
    from dama.broker.stream import Stream
    from dama.definitions.part import Part
    from dama.definitions.service import Service
    from dama.definitions.task import TaskDefinition
    from dama.domain.event import ABSENT, Event, StoredEvent
    from dama.domain.slice import Slice, combine, each
    from dama.errors import DamaError
    from dama.operations.tasks import start_many
    from dama.run.errors import DivergedError, SubtaskError, WaitTimeoutError
    from dama.run.sync_task import SyncTask
    from dama.run.task import Task

_HOMES = {
    "Stream": "dama.broker.stream",
    "BrokerOptions": "dama.broker.options",
    "Broker": "dama.broker.broker",
    "ABSENT": "dama.domain.event",
    "Call": "dama.broker.call",
    "CallError": "dama.broker.errors",
    "DamaError": "dama.errors",
    "DivergedError": "dama.run.errors",
    "Event": "dama.domain.event",
    "Part": "dama.definitions.part",
    "Service": "dama.definitions.service",
    "Slice": "dama.domain.slice",
    "StoredEvent": "dama.domain.event",
    "SubtaskError": "dama.run.errors",
    "SyncTask": "dama.run.sync_task",
    "Task": "dama.run.task",
    "TaskDefinition": "dama.definitions.task",
    "WaitTimeoutError": "dama.run.errors",
    "combine": "dama.domain.slice",
    "each": "dama.domain.slice",
    "start_many": "dama.operations.tasks",
}

__all__ = [
    "ABSENT",
    "Broker",
    "BrokerOptions",
    "Call",
    "CallError",
    "DamaError",
    "DivergedError",
    "Event",
    "Part",
    "Service",
    "Slice",
    "StoredEvent",
    "Stream",
    "SubtaskError",
    "SyncTask",
    "Task",
    "TaskDefinition",
    "WaitTimeoutError",
    "combine",
    "each",
    "start_many",
]


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module 'dama' has no attribute {name!r}")
    value = getattr(import_module(_HOMES[name]), name)
    globals()[name] = value
    return value
