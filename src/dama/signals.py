"""Signals: who handles them in this process, and nobody in its forks.

A fork, such as a worker of `multiprocessing.Pool`, inherits the handlers of the loop and the
descriptor that wakes it. Ending it with SIGTERM would then tell this process to stop.
"""

from __future__ import annotations

import asyncio
import os
import signal
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

_handled: set[int] = set()


def on_signals(numbers: Iterable[int], handler: Callable[[], object]) -> None:
    """Call a function in the running loop at signals; one that is ignored stays so, as in nohup."""
    if not _handled:
        os.register_at_fork(after_in_child=_reset)
    for number in numbers:
        if number == signal.SIGHUP and signal.getsignal(number) is signal.SIG_IGN:
            continue
        asyncio.get_running_loop().add_signal_handler(number, handler)
        _handled.add(number)


def _reset() -> None:
    with suppress(ValueError):  # of a fork from a thread, which is the main one afterwards
        signal.set_wakeup_fd(-1)
        for number in _handled:
            signal.signal(number, signal.SIG_DFL)
