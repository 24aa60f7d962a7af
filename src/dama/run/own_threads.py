"""Own threads: those that user code starts by itself. They are no branches.

In which order they come is another matter each time, so that what they ask for is told apart by its
arguments alone. What has none, and is asked for by two that live at the same time, is refused. The
same holds for a task of asyncio that was started with an empty context, as by such a thread.
"""

from __future__ import annotations

import asyncio
import threading
from typing import Any

from dama.contained import sender
from dama.run.errors import TaskUsageError
from dama.run.records import ANY_ARGS, NO_ARGS

_Owner = threading.Thread | asyncio.Task[Any] | None


class OwnThreads:
    """The threads of one run that have asked for something without arguments."""

    def __init__(self) -> None:
        self._asked: dict[tuple[str, str], _Owner] = {}

    def refuse_alike(self, what: str, name: str, args: str) -> None:
        """Refuse what nothing tells from what another thread has asked for.

        Raises:
            TaskUsageError: Two threads have asked for it.
        """
        has_result = what in {"step", "subtask"} or name.startswith("wait:")
        if not has_result or args not in {NO_ARGS, ANY_ARGS}:
            return
        owner = sender.get() or asyncio.current_task()
        other = self._asked.setdefault((what, name), owner)
        if other is not owner and _lives(other):
            raise TaskUsageError(
                f"Two threads that the function has started ask for the {what} {name}, and nothing "
                "tells which of them is which when the run continues after a crash.",
                "Give each a name of its own, or what it is for as an argument that is JSON: "
                "`task.step(name, function, item)`.",
            )
        self._asked[what, name] = owner


def _lives(owner: _Owner) -> bool:
    if isinstance(owner, threading.Thread):
        return owner.is_alive()
    return owner is not None and not owner.done()
