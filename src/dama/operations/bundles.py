"""Export and import: contexts leave for a file, and come into another database as they were."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, BinaryIO, Literal

from dama.bundles import devtools, parquet, reading, run_files, writing
from dama.bundles.errors import BundleError
from dama.config.private_file import make_private
from dama.domain.exact import encode
from dama.domain.lifecycle import lifecycle
from dama.domain.slice import find_slice
from dama.domain.slice import slices as known_slices
from dama.operations import contexts
from dama.operations.who import person
from dama.programs.programs import directories_of
from dama.store import bundles as store
from dama.store.errors import UnknownContextError

if TYPE_CHECKING:
    from dama.app import App
    from dama.bundles.layout import BundledEvent
    from dama.shapes import Json
    from dama.store.windows import ContextFilter

Format = Literal["bundle", "parquet", "redux-devtools"]
SUFFIXES: Mapping[Format, str] = {
    "bundle": ".zip",
    "parquet": ".parquet",
    "redux-devtools": ".json",
}
PAGE = 100
MOST = 1000
CHUNK = 256 * 1024
WAS_OPEN = "It had not ended when it was exported: its run is in another database."


@dataclass(frozen=True)
class Wanted:
    """What is to be written of contexts.

    Attributes:
        format: What kind of file.
        slices: Whose states redux-devtools has; none for all that are known.
        logs: Whether a bundle has the ends of the logs of programs.
        artifacts: Whether a bundle has the files that programs left.
    """

    format: Format = "bundle"
    slices: Sequence[str] = ()
    logs: bool = False
    artifacts: bool = False


@dataclass(frozen=True)
class Exported:
    """What was written.

    Attributes:
        path: The file.
        contexts: How many it has.
        events: How many they have.
        bytes: The size of the file.
    """

    path: str
    contexts: int
    events: int
    bytes: int


@dataclass(frozen=True)
class Imported:
    """What came of a bundle.

    Attributes:
        contexts: The new contexts at the top, by what they were: the database and the id there.
        known: Contexts at the top that had been imported before, or are of this database.
        ended: Contexts that had not ended, and are cancelled here.
        count: How many contexts came in, with all below those at the top.
        events: How many events came in.
        files: How many files of runs.
    """

    contexts: Sequence[Origin]
    known: Sequence[Origin]
    ended: Sequence[int]
    count: int
    events: int
    files: int


@dataclass(frozen=True)
class Origin:
    """A context and where it comes from.

    Attributes:
        context_id: Its id here.
        database: What tells the database that it ran in from all others.
        source_id: Its id there.
    """

    context_id: int
    database: str
    source_id: int


async def chosen(app: App, filter_: ContextFilter, limit: int = MOST) -> list[int]:
    """The contexts that fit a filter, the oldest first.

    Args:
        app: Where they are.
        filter_: Which.
        limit: How many at most, the newest.
    """
    found: list[int] = []
    before: int | None = None
    while len(found) < limit:
        page = await contexts.all_of(app, filter_, before=before, limit=PAGE)
        found += [each.context_id for each in page.contexts]
        before = page.next_before
        if before is None:
            break
    return sorted(found[:limit])


async def export(
    app: App,
    given: Sequence[int],
    path: Path,
    *,
    logs: bool = False,
    artifacts: bool = False,
    plainly: bool = False,
) -> Exported:
    """Write contexts with all below them into a file, as they are at one moment.

    The same contexts give the same file; one that was imported and has not changed since gives the
    file that it came in.

    Args:
        app: Where they are; archived ones too.
        given: Which.
        path: Of the file, which must not be there yet.
        logs: Also the last MiB of what their programs printed on this host, secrets struck out.
        artifacts: Also the files that their programs left on this host.
        plainly: Whether what was imported is written as what it is here, and not as it came.

    Raises:
        UnknownContextError: One is not there; nothing is written then.
        BundleError: The file is there already, or cannot be written.
    """
    async with store.leaving(app.store.database, given, plainly=plainly) as leaving:
        _refuse_missing(given, leaving)
        with writing.written(path) as writer:
            writer.add_contexts(leaving.contexts)
            with writer.adding_events() as events:
                async for lines in leaving.events:
                    await asyncio.to_thread(events.add, lines)
            if logs or artifacts:
                runs = await directories_of(app.store, app.home)
                for place, context_id in enumerate(leaving.local_ids, 1):
                    found = run_files.of_context(
                        runs, place, context_id, logs=logs, artifacts=artifacts
                    )
                    for name, parts in found:
                        await asyncio.to_thread(writer.add, name, parts)
    return await _exported(path, writer.contexts, writer.events)


async def export_as(app: App, given: Sequence[int], path: Path, wanted: Wanted) -> Exported:
    """Write contexts as a file of some kind; see `export`, `export_parquet`, `export_devtools`.

    Raises:
        BundleError: The kind of file has no such part; also as those do.
    """
    if wanted.format == "redux-devtools" and len(given) != 1:
        raise BundleError("Redux DevTools look at one context: give just one.")
    if wanted.format != "redux-devtools" and wanted.slices:
        raise BundleError("Slices (--slice) are for redux-devtools.")
    if wanted.format != "bundle" and (wanted.logs or wanted.artifacts):
        raise BundleError("Logs and artifacts (--logs, --artifacts) are for bundles.")
    if wanted.format == "parquet":
        return await export_parquet(app, given, path)
    if wanted.format == "redux-devtools":
        return await export_devtools(app, given[0], path, wanted.slices)
    return await export(app, given, path, logs=wanted.logs, artifacts=wanted.artifacts)


async def export_chunks(app: App, context_id: int, wanted: Wanted) -> AsyncIterator[bytes]:
    """The file of a context and of all below it, piece by piece; it is on no disk afterwards.

    Raises:
        DamaError: As `export_as`, before the first piece.
    """
    make_private(app.home)
    with TemporaryDirectory(dir=app.home, prefix="export-") as folder:
        path = Path(folder, f"export{SUFFIXES[wanted.format]}")
        await export_as(app, [context_id], path, wanted)
        file = path.open("rb")  # noqa: ASYNC230 - local; it ends with what reads it
    return _chunks(file)


async def _chunks(file: BinaryIO) -> AsyncIterator[bytes]:
    with file:
        while chunk := await asyncio.to_thread(file.read, CHUNK):
            yield chunk


async def import_chunks(
    app: App,
    chunks: AsyncIterator[bytes],
    *,
    again: bool = False,
    by: Mapping[str, Json] | None = None,
) -> Imported:
    """Bring in a bundle that comes piece by piece; see `import_bundle`."""
    make_private(app.home)
    with TemporaryDirectory(dir=app.home, prefix="import-") as folder:
        path = Path(folder, "import.zip")
        with path.open("xb") as file:  # noqa: ASYNC230 - local, and empty
            async for chunk in chunks:
                await asyncio.to_thread(file.write, chunk)
        return await import_bundle(app, path, again=again, by=by)


async def export_parquet(app: App, given: Sequence[int], path: Path) -> Exported:
    """Write the events of contexts and of all below them as a Parquet file, a row each.

    Args:
        app: Where they are.
        given: Which.
        path: Of the file, which must not be there yet.

    Raises:
        UnknownContextError: One is not there.
        BundleError: The file is there already, or cannot be written; pyarrow is not installed.
    """
    async with store.leaving(app.store.database, given) as leaving:
        _refuse_missing(given, leaving)
        with writing.placed(path) as part:
            writer = parquet.ParquetWriter(part, leaving.contexts)
            async for lines in leaving.events:
                await asyncio.to_thread(writer.add, lines)
            await asyncio.to_thread(writer.close)
    return await _exported(path, len(leaving.contexts), writer.count)


async def export_devtools(
    app: App, context_id: int, path: Path, slices: Sequence[str] = ()
) -> Exported:
    """Write the history of a context as a file that Redux DevTools imports.

    Args:
        app: Where it is.
        context_id: Which.
        path: Of the file, which must not be there yet.
        slices: Whose states it tells after each event; by default those of all that are known.

    Raises:
        UnknownContextError: There is no such context.
        UnknownSliceError: There is no such slice.
        BundleError: The file is there already, or cannot be written.
    """
    told = [lifecycle if name == lifecycle.name else find_slice(name) for name in slices]
    told = told or [lifecycle, *known_slices().values()]
    await app.store.context(context_id)
    events = [event async for page in app.store.pages(context_id) for event in page]
    with writing.placed(path) as part:
        state = await asyncio.to_thread(devtools.lifted_state, events, told)
        await asyncio.to_thread(part.write_bytes, encode(state))
    return await _exported(path, 1, len(events))


async def import_bundle(
    app: App, path: Path, *, again: bool = False, by: Mapping[str, Json] | None = None
) -> Imported:
    """Bring the contexts of a file into the database: their states, new ids, where they come from.

    What ran in this database and is not there any more comes back as it was, with its own ids.
    All of them come in, or none. What was open is cancelled here, since its run is elsewhere:
    `resume` lets it continue in this database. The keys of their starts are not taken.

    Args:
        app: Where to.
        path: Of the file.
        again: Also what was imported before, and what is of this database, as further contexts.
        by: Who does it, and why.

    Raises:
        BundleError: The file is none, or is damaged.
        InvalidEventError: A context has not the events that it should have.
        MissingRightError: Only who owns the tables may.
    """
    by = by or person()
    with reading.opened(path) as bundle:
        await asyncio.to_thread(bundle.verify)
        there = await store.known(app.store.database, bundle.contexts)
        tops = _tops(bundle.contexts)
        is_new = [again or there[top].context_id is None for top in tops]
        wanted = [each for each, new in zip(bundle.contexts, is_new, strict=True) if new]
        ids = dict(_known(bundle.contexts, there, is_new))
        events, ended = 0, []
        if wanted:
            back = _whole_trees(tops, [each.comes_back and not again for each in there])
            own = [each.context - 1 in back for each in wanted]
            async with store.coming(app.store.database, wanted, own) as coming:
                ids |= {e.context: i for e, i in zip(wanted, coming.ids, strict=True)}
                news = dict(zip((e.context for e in wanted), coming.ids, strict=True))
                for part in _parts(bundle, news):
                    at = [news[event.context] for event, _ in part]
                    await coming.add([line for _, line in part], at, {"by": by})
                    events += len(part)
                ended = await coming.end({"reason": WAS_OPEN}, by)
        files = await asyncio.to_thread(
            run_files.restore, bundle, await directories_of(app.store, app.home), ids
        )
    contexts, known = _roots(bundle.contexts, ids, is_new)
    return Imported(contexts, known, ended, count=len(wanted), events=events, files=files)


def _roots(
    bundled: Sequence[store.BundledContext], ids: Mapping[int, int], is_new: Sequence[bool]
) -> tuple[list[Origin], list[Origin]]:
    """What came in, and what had been here: the roots of the file, and where they come from."""
    came: list[Origin] = []
    had: list[Origin] = []
    for each, new in zip(bundled, is_new, strict=True):
        if each.parent is None and each.context in ids:
            origin = Origin(ids[each.context], each.database, each.context_id)
            (came if new else had).append(origin)
    return came, had


def _tops(bundled: Sequence[store.BundledContext]) -> list[int]:
    """The place, from 0, of the topmost context above each."""
    tops: list[int] = []
    for place, each in enumerate(bundled):
        tops.append(place if each.parent is None else tops[each.parent - 1])
    return tops


def _known(
    bundled: Sequence[store.BundledContext], there: Sequence[store.Known], is_new: Sequence[bool]
) -> list[tuple[int, int]]:
    found = zip(bundled, (each.context_id for each in there), is_new, strict=True)
    return [(each.context, here) for each, here, new in found if not new and here is not None]


def _whole_trees(tops: Sequence[int], come_back: Sequence[bool]) -> set[int]:
    """The places, from 0, of the contexts of trees of which all come back."""
    others = {top for top, comes_back in zip(tops, come_back, strict=True) if not comes_back}
    return {place for place, top in enumerate(tops) if top not in others}


def _parts(
    bundle: reading.Bundle, wanted: Mapping[int, int]
) -> Iterator[list[tuple[BundledEvent, str]]]:
    """The events of the contexts that are wanted, some at a time."""
    part: list[tuple[BundledEvent, str]] = []
    for event, line in bundle.events():
        if event.context in wanted:
            part.append((event, line))
        if len(part) == store.LINES_AT_ONCE:
            yield part
            part = []
    if part:
        yield part


def _refuse_missing(given: Sequence[int], leaving: store.Leaving) -> None:
    if missing := sorted(set(given) - set(leaving.local_ids)):
        raise UnknownContextError(
            f"There is no context {missing[0]}.", "`dama ls --all` lists the contexts."
        )


async def _exported(path: Path, contexts: int, events: int) -> Exported:
    size = (await asyncio.to_thread(path.stat)).st_size
    return Exported(str(path), contexts, events, size)
