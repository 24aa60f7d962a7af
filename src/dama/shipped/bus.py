"""The bus: what its members may have done here. A packet has no credentials, so it is not much.

Whoever can publish to the bus can send any packet, under any name. The shipped actions that only
read are open to them; what changes something is refused, unless `[broker]` lists it: `startable`
has the tasks that they may start, cancel, resume and signal, `bus_actions` further actions. A call
is known to have come over the bus by the way it came, whatever its meta says. Actions of the
project decide for themselves, and what they call in turn is their own act.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from dama.broker.errors import ClientCallError
from dama.broker.pattern import matches

if TYPE_CHECKING:
    from dama.app import App
    from dama.broker.call import Call
    from dama.definitions.service import Service

TASK_ACTIONS = frozenset({"tasks.start", "tasks.run"})
CONTEXT_ACTIONS = frozenset({"tasks.cancel", "tasks.resume", "events.dispatch"})


class BusRefusedError(ClientCallError):
    """A member of the bus asked for something that only a known caller may have done."""

    name = "ForbiddenError"
    status = 403
    code = "BUS_REFUSED"


@dataclass(frozen=True)
class BusRights:
    """What the members of the bus may have done.

    Attributes:
        startable: Patterns of the tasks that they may start, and whose contexts they may change.
        actions: Shipped actions besides, by their full names.
    """

    startable: tuple[str, ...] = ()
    actions: tuple[str, ...] = ()

    def may_start(self, task: str | None) -> bool:
        """Whether they may start a task."""
        return task is not None and any(matches(task, pattern) for pattern in self.startable)


def guarded(service: Service, app: App, rights: BusRights) -> Service:
    """A shipped service that refuses the bus what changes something."""
    for name, action in service.actions.items():
        full_name = f"{service.name}.{name}"  # other nodes may know it by another one
        if action.options.scope != "viewer" and full_name not in rights.actions:
            service.before(name)(partial(_refuse, name=full_name, app=app, rights=rights))
    return service


async def _refuse(call: Call, name: str, app: App, rights: BusRights) -> None:
    """Refuse a remote call that changes something, unless it is of a task that is startable.

    Raises:
        BusRefusedError: It is not.
    """
    if not call.is_remote:
        return
    task: str | None = None
    if name in TASK_ACTIONS:
        task = call.params["name"]
    elif name in CONTEXT_ACTIONS:
        context = await app.store.context(call.params["context_id"])
        task = (await app.store.context(context.root_context_id)).task
    if not rights.may_start(task):
        raise BusRefusedError(
            f"{name}{f' of {task}' if task else ''} came over the bus, where nobody proves "
            "who they are.",
            'List the task in startable of [broker], as "flights.*"; an action that is about no '
            "task in bus_actions.",
            data={"action": name, "task": task},
        )
