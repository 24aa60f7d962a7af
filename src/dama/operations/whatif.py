"""What if: recorded history through other reducers, and which states would differ."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dama.domain.difference import changes
from dama.operations.folding import Ask, Begin, Fold, Folder
from dama.store.windows import ContextFilter

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from dama.app import App
    from dama.definitions.registry import Registry

SAMPLE = 1000
MOST_SHOWN = 20  # contexts whose difference is looked for
MOST_CHANGES = 50
PAGE = 100


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

    Args:
        app: Where the history is.
        slice_: The name of the slice, in both.
        today: The modules of the project.
        other: What might take their place.
        contexts: Which; by default the latest.
        sample: How many of the latest.

    Raises:
        UnfoldableError: A module cannot be imported, or does not define the slice.
    """
    conninfo = app.store.database.conninfo
    begins = [
        Begin(conninfo, [str(code.root), str(today.root)], list(code.modules), slice_)
        for code in (today, other)
    ]
    folded = events = different = 0
    found: list[Difference] = []
    async with Folder(begins[0]) as one, Folder(begins[1]) as two:
        async for context_id in _chosen(app, contexts, sample):
            before, after = await _both(one, two, Ask(context_id))
            folded += 1
            events += before.events
            if (before.digests, before.error) == (after.digests, after.error):
                continue
            different += 1
            if len(found) < MOST_SHOWN:
                found.append(await _difference(app, one, two, context_id))
    return WhatIf(slice_, folded, events, different, found)


async def _chosen(app: App, contexts: Sequence[int] | None, sample: int) -> AsyncGenerator[int]:
    if contexts is not None:
        for context_id in contexts:
            yield (await app.store.context(context_id)).context_id
        return
    before: int | None = None
    left = sample
    while left > 0:
        page = await app.store.windows.contexts(
            ContextFilter(roots=False), before=before, limit=min(PAGE, left)
        )
        for row in page.contexts:
            yield row.context_id
        left -= len(page.contexts)
        before = page.next_before
        if before is None:
            return


async def _both(one: Folder, two: Folder, ask: Ask) -> tuple[Fold, Fold]:
    before, after = await asyncio.gather(one.ask(ask), two.ask(ask))
    return before, after


async def _difference(app: App, one: Folder, two: Folder, context_id: int) -> Difference:
    before, after = await _both(one, two, Ask(context_id, trace=True))
    pairs = zip(before.digests, after.digests, strict=False)
    shared = min(len(before.digests), len(after.digests))
    place = next((n for n, (a, b) in enumerate(pairs) if a != b), shared)
    (event,) = await app.store.events(context_id, after_version=place, limit=1)
    error = after.error if after.failed_at == event.version else None
    told: list[Mapping[str, Any]] = []
    if error is None and before.failed_at != event.version:
        old, new = await _both(one, two, Ask(context_id, version=event.version))
        differences = islice(changes(old.state, new.state), MOST_CHANGES)
        told = [change.document() for change in differences]
    return Difference(context_id, event.version, event.event_id, event.type, told, error)
