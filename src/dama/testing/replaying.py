"""Replaying in a test: the code of today against runs that were exported, with nothing done."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from typing_extensions import TypeVar

from dama.app import App
from dama.definitions.registry import Registry
from dama.definitions.service import Service
from dama.domain.event import StoredEvent
from dama.operations import bundles, checks, contexts
from dama.store import ContextRow
from dama.testing import databases

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dama.domain.slice import Slice

S = TypeVar("S")


@dataclass(frozen=True)
class Replayed:
    """Contexts of a bundle, as they are in the test's database.

    Attributes:
        contexts: All of them, parents before what they started. Their ids are new; what had not
            ended is CANCELLED.
        events: Of each, by its id.
        misfits: Where the code does something else than the run has recorded.
    """

    contexts: Sequence[ContextRow]
    events: Mapping[int, Sequence[StoredEvent]] = field(repr=False)
    misfits: Sequence[checks.Misfit]

    def state(self, slice_: Slice[S], context: int = 0) -> S:
        """The state of a context in a slice, folded with the reducers of today.

        Args:
            slice_: Which.
            context: Its place among all; the first by default.
        """
        row = self.contexts[context]
        return slice_.fold(self.events[row.context_id], slice_.initial)


def replay(file: str | Path, *, database: str | None = None, fits: bool = True) -> Replayed:
    """Hold the code of this process against the runs of a bundle.

    Each step, call, subtask and wait is answered from the record, and nothing of it is done; what a
    function does outside of steps is. Tasks that no service of this process has are left out.

    Args:
        file: What `dama export` has written.
        database: Its URL; by default one that all tests of the process share.
        fits: Whether code that does something else is an error.

    Raises:
        AssertionError: The code does something else than the runs have recorded; the first place
            is named.
        BundleError: The file is none.
    """
    url = database or databases.shared()
    replayed = databases.thread().answer(_replayed(url, Path(file)))
    if fits and replayed.misfits:
        raise AssertionError("\n".join(_told(replayed)))
    return replayed


async def _replayed(url: str, path: Path) -> Replayed:
    async with databases.opened(url) as store:
        services = {service.name: service for service in Service.made()}
        app = App(store, Registry(services.values()), databases.home())
        made = await bundles.import_bundle(app, path, again=True)
        rows = [row for each in made.contexts for row in await contexts.tree(app, each.context_id)]
        events = {row.context_id: await _events(app, row.context_id) for row in rows}
        return Replayed(rows, events, await checks.misfits(app, rows))


async def _events(app: App, context_id: int) -> list[StoredEvent]:
    return [event async for page in app.store.pages(context_id) for event in page]


def _told(replayed: Replayed) -> Iterator[str]:
    tasks = {row.context_id: row.task for row in replayed.contexts}
    for misfit in replayed.misfits:
        yield (
            f"{tasks[misfit.context_id]}: {misfit.kind}\n"
            f"  recorded: {misfit.recorded}\n     found: {misfit.found}"
        )
