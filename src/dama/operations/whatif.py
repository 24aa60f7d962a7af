"""What if: recorded history through other reducers, and which states would differ."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from dama.domain.difference import changes
from dama.domain.event import StoredEvent
from dama.domain.exact import line_reader
from dama.operations.folding import NOTHING, Begin, Contexts, Fold, Folder, Show, Shown, Step, Trace
from dama.store.histories import read_histories
from dama.store.windows import ContextFilter

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from dama.app import App
    from dama.definitions.registry import Registry
    from dama.store.rows import ContextRow

T = TypeVar("T")

SAMPLE = 1000
MOST_SHOWN = 20  # contexts whose difference is looked for
MOST_CHANGES = 50
PAGE = 1000


@dataclass(frozen=True)
class Difference:
    """A context whose state would be another one.

    Attributes:
        context_id: Which.
        version: The first event after which the states differ, or at which a reducer raises.
        event_id: Of that event.
        type: Of that event.
        changes: What changes of the state of today give the other one.
        error: What a reducer of the new module raises there; None when none does.
    """

    context_id: int
    version: int
    event_id: int
    type: str
    changes: Sequence[Mapping[str, Any]]
    error: str | None


@dataclass(frozen=True)
class WhatIf:
    """What other reducers would change.

    Attributes:
        slice: Its name.
        contexts: How many were folded.
        events: How many events they have.
        different: How many would have another state at their end, or where a reducer raises.
        differences: The first of them, each with the event where it begins.
    """

    slice: str
    contexts: int
    events: int
    different: int
    differences: Sequence[Difference]


@dataclass(frozen=True)
class Code:
    """Where the reducers are.

    Attributes:
        modules: What defines the slice.
        root: The folder to import from.
    """

    modules: Sequence[str]
    root: Path

    @classmethod
    def of(cls, module: str) -> Code:
        """A module by its name, or by its file."""
        path = Path(module)
        if path.suffix == ".py":
            return cls([path.stem], path.parent.resolve())
        return cls([module], Path.cwd())

    @classmethod
    def today(cls, registry: Registry) -> Code:
        """The modules that a process has loaded."""
        return cls([*registry.seconds], registry.root)


async def what_if(
    app: App,
    slice_: str,
    today: Code,
    other: Code,
    *,
    contexts: Sequence[int] | None = None,
    sample: int = SAMPLE,
) -> WhatIf:
    """Fold history with the reducers of today and with others, each in a process; nothing is kept.

    Both get the same events, those that there were when a context was looked up.

    Args:
        app: Where the history is.
        slice_: The name of the slice, in both.
        today: The modules of the project.
        other: What might take their place.
        contexts: Which; by default the latest.
        sample: How many of the latest.

    Raises:
        UnknownContextError: There is no such context.
        UnfoldableError: A module cannot be imported, or does not define the slice.
    """
    begins = [
        Begin([str(code.root), str(today.root)], list(code.modules), slice_)
        for code in (today, other)
    ]
    async with Folder(begins[0]) as one, Folder(begins[1]) as two:
        pair = _Pair(app, one, two)
        contexts_folded = events = 0
        different: list[ContextRow] = []
        before: Sequence[ContextRow] = []
        async for rows in _chosen(app, contexts, sample):
            # While these are read, those before are folded.
            _, found = await asyncio.gather(pair.send(rows), pair.different(before))
            different += found
            before = rows
            contexts_folded += len(rows)
            events += sum(row.version for row in rows)
        different += await pair.different(before)
        differences = [await pair.difference(row) for row in different[:MOST_SHOWN]]
    shown = [each for each in differences if each is not None]
    return WhatIf(slice_, contexts_folded, events, len(different), shown)


async def _chosen(
    app: App, contexts: Sequence[int] | None, sample: int
) -> AsyncGenerator[Sequence[ContextRow]]:
    if contexts is not None:
        rows = [await app.store.context(context_id) for context_id in contexts]
        if rows:
            yield rows
        return
    before: int | None = None
    left = sample
    while left > 0:
        page = await app.store.windows.contexts(
            ContextFilter(roots=False), before=before, limit=min(PAGE, left)
        )
        if page.contexts:
            yield page.contexts
        left -= len(page.contexts)
        before = page.next_before
        if before is None:
            return


class _Pair:
    """Both processes, and the events for them, each of which is read once."""

    def __init__(self, app: App, one: Folder, two: Folder) -> None:
        self._app = app
        self._one = one
        self._two = two
        no_types = one.types is None or two.types is None
        self._types = None if no_types else {*(one.types or ()), *(two.types or ())}

    async def send(self, rows: Sequence[ContextRow]) -> None:
        """Send the events of contexts."""
        await self._tell(Contexts([row.context_id for row in rows]))
        async for lines in self._lines(rows):
            await self._send(lines)
        await self._send(NOTHING)

    async def different(self, rows: Sequence[ContextRow]) -> list[ContextRow]:
        """Those of the contexts that were sent whose states differ."""
        if not rows:
            return []
        folds = await self._answers(list[Fold])
        return [row for row, before, after in zip(rows, *folds, strict=True) if before != after]

    async def difference(self, row: ContextRow) -> Difference | None:
        """How the states of a context differ; None if its events are not there any more."""
        is_first = True
        async with aclosing(self._lines([row])) as pages:
            async for lines in pages:
                await self._tell(Step(is_first))
                await self._send(lines)
                is_first = False
                before, after = await self._answers(Trace)
                if before != after:
                    return await self._at_first(row, lines, before, after)
        return None

    async def _at_first(
        self, row: ContextRow, lines: bytes, before: Trace, after: Trace
    ) -> Difference:
        """Where, within some events, the states begin to differ."""
        pairs = zip(before.digests, after.digests, strict=False)
        shared = min(len(before.digests), len(after.digests))
        place = next((n for n, (a, b) in enumerate(pairs) if a != b), shared)
        event = line_reader(StoredEvent)(lines.split(b"\n")[place])[0]
        told: list[Mapping[str, Any]] = []
        error = after.error if place == len(after.digests) else None
        if place < shared:
            await self._tell(Show(place + 1))
            old, new = await self._answers(Shown)
            differences = islice(changes(old.state, new.state), MOST_CHANGES)
            told = [change.document() for change in differences]
        return Difference(row.context_id, event.version, event.event_id, event.type, told, error)

    async def _lines(self, rows: Sequence[ContextRow]) -> AsyncGenerator[bytes]:
        pages = read_histories(self._app.store.database, rows, self._types)
        async with aclosing(pages):
            async for lines in pages:
                yield "\n".join(lines).encode()

    async def _tell(self, what: Contexts | Step | Show) -> None:
        await self._one.tell(what)
        await self._two.tell(what)

    async def _send(self, frame: bytes) -> None:
        await self._one.send(frame)
        await self._two.send(frame)

    async def _answers(self, type_: type[T]) -> tuple[T, T]:
        return await self._one.answer(type_), await self._two.answer(type_)
