"""Own threads: those that the function of a `def` starts by itself. They are no branches.

In which order they come is another matter each time, so that what they ask for is told apart by its
arguments alone. What has none, and is asked for by two that live at the same time, is refused.
"""

from __future__ import annotations

import threading
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING

from dama.run.errors import TaskUsageError
from dama.run.records import ANY_ARGS, NO_ARGS

if TYPE_CHECKING:
    from collections.abc import Generator

_asking: ContextVar[threading.Thread | None] = ContextVar("asking_thread", default=None)


@contextmanager
def own_thread() -> Generator[None]:
    """What is asked for meanwhile is asked for by this thread."""
    token = _asking.set(threading.current_thread())
    try:
        yield
    finally:
        _asking.reset(token)


class OwnThreads:
    """The threads of one run that have asked for something without arguments."""

    def __init__(self) -> None:
        self._asked: dict[tuple[str, str], threading.Thread] = {}

    def refuse_alike(self, what: str, name: str, args: str) -> None:
        """Refuse what nothing tells from what another thread has asked for.

        Raises:
            TaskUsageError: Two threads have asked for it.
        """
        thread = _asking.get()
        has_result = what == "step" or name.startswith("wait:")
        if thread is None or not has_result or args not in {NO_ARGS, ANY_ARGS}:
            return
        other = self._asked.setdefault((what, name), thread)
        if other is not thread and other.is_alive():
            raise TaskUsageError(
                f"Two threads that the function has started ask for the {what} {name}, and nothing "
                "tells which of them is which when the run continues after a crash.",
                "Give each a name of its own, or what it is for as an argument that is JSON: "
                "`task.step(name, function, item)`.",
            )
        self._asked[what, name] = thread
