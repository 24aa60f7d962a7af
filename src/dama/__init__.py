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
    from dama.client.client import Client
    from dama.client.connect import connect
    from dama.client.frames import frame
    from dama.client.handle import Handle
    from dama.client.sync import SyncClient, SyncHandle
    from dama.config.own import settings
    from dama.definitions.part import Part
    from dama.definitions.service import Service
    from dama.definitions.step import StepDefinition, step
    from dama.definitions.task import TaskDefinition
    from dama.domain.event import ABSENT, Event, StoredEvent
    from dama.domain.slice import Slice, combine, each
    from dama.errors import DamaError
    from dama.operations.tasks import start_many
    from dama.run.awaiting import Answer
    from dama.run.errors import DivergedError, Retry, RunError, SubtaskError, WaitTimeoutError
    from dama.run.sync_task import SyncTask
    from dama.run.task import Task

_HOMES = {
    "Stream": "dama.broker.stream",
    "BrokerOptions": "dama.broker.options",
    "Broker": "dama.broker.broker",
    "ABSENT": "dama.domain.event",
    "Answer": "dama.run.awaiting",
    "Call": "dama.broker.call",
    "CallError": "dama.broker.errors",
    "Client": "dama.client.client",
    "DamaError": "dama.errors",
    "DivergedError": "dama.run.errors",
    "Event": "dama.domain.event",
    "Handle": "dama.client.handle",
    "Part": "dama.definitions.part",
    "Retry": "dama.run.errors",
    "RunError": "dama.run.errors",
    "Service": "dama.definitions.service",
    "Slice": "dama.domain.slice",
    "StepDefinition": "dama.definitions.step",
    "StoredEvent": "dama.domain.event",
    "SubtaskError": "dama.run.errors",
    "SyncClient": "dama.client.sync",
    "SyncHandle": "dama.client.sync",
    "SyncTask": "dama.run.sync_task",
    "Task": "dama.run.task",
    "TaskDefinition": "dama.definitions.task",
    "WaitTimeoutError": "dama.run.errors",
    "combine": "dama.domain.slice",
    "connect": "dama.client.connect",
    "settings": "dama.config.own",
    "each": "dama.domain.slice",
    "frame": "dama.client.frames",
    "start_many": "dama.operations.tasks",
    "step": "dama.definitions.step",
}

__all__ = [
    "ABSENT",
    "Answer",
    "Broker",
    "BrokerOptions",
    "Call",
    "CallError",
    "Client",
    "DamaError",
    "DivergedError",
    "Event",
    "Handle",
    "Part",
    "Retry",
    "RunError",
    "Service",
    "Slice",
    "StepDefinition",
    "StoredEvent",
    "Stream",
    "SubtaskError",
    "SyncClient",
    "SyncHandle",
    "SyncTask",
    "Task",
    "TaskDefinition",
    "WaitTimeoutError",
    "combine",
    "connect",
    "each",
    "frame",
    "settings",
    "start_many",
    "step",
]


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module 'dama' has no attribute {name!r}")
    value = getattr(import_module(_HOMES[name]), name)
    globals()[name] = value
    return value
