"""Makes the executions of claimed runs, with what all runs of one worker share."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from dama.run.execution import Execution
from dama.run.group_commit import GroupCommit

if TYPE_CHECKING:
    from collections.abc import Callable

    from dama.definitions.registry import Registry
    from dama.programs.programs import Programs
    from dama.run.broker_source import BrokerSource
    from dama.run.subtasks import Endings
    from dama.store import Claim, Store

THREADS = 1000


class Executions:
    """Makes the executions of one worker.

    Args:
        store: Where events go.
        registry: The tasks.
        endings: Tells who waits for whom.
        programs: Has the working folders.
        broker: Returns what calls actions.
        on_waiting: Called with 1 and -1 around a wait for subtasks.
    """

    def __init__(
        self,
        store: Store,
        registry: Registry,
        endings: Endings,
        programs: Programs,
        broker: BrokerSource,
        on_waiting: Callable[[int], None],
    ) -> None:
        self._store = store
        self._registry = registry
        self._endings = endings
        self._programs = programs
        self._broker = broker
        self._on_waiting = on_waiting
        self._commits = GroupCommit(store)
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="dama")

    def make(self, claim: Claim) -> Execution:
        """Make the execution of a claimed run."""
        return Execution(
            claim,
            store=self._store,
            commits=self._commits,
            endings=self._endings,
            registry=self._registry,
            pool=self._threads,
            on_waiting=self._on_waiting,
            work_dir=self._programs.directories.work(claim.root_context_id),
            broker=self._broker,
        )

    def close(self) -> None:
        """Start no more threads; those that are busy are left to themselves."""
        self._threads.shutdown(wait=False, cancel_futures=True)
