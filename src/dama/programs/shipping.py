"""Shipping: what a program tells becomes events of its context, each once and in order.

It tells with lines on stdout that begin with `::dama:: ` and with lines in `$DAMA_EVENTS`. The key
of an event is its place in the file, so reading the file again after any crash is harmless. While
the database is away the files keep what is not shipped.
"""

from __future__ import annotations

import asyncio
import logging
import os
from contextlib import suppress
from dataclasses import asdict
from typing import TYPE_CHECKING

from dama import clock
from dama.beside import beside, off_loop
from dama.domain.errors import InvalidEventError, InvalidJsonError
from dama.domain.event import ABSENT, Event, check_event, parse_event
from dama.domain.exact import decode
from dama.domain.reserved import event_of_program
from dama.errors import RefusedError, UnavailableError
from dama.programs.lines import (
    TRUNCATED,
    Line,
    LineReader,
    Place,
    before,
    is_other,
    opened,
)
from dama.programs.masking import Mask, mask_all
from dama.shapes import Json, as_object, is_list
from dama.store import Append

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from dama.programs.run_directory import RunDirectory
    from dama.run.execution import Execution

MARK = b"::dama:: "
PROGRESS_SECONDS = 1.0
SAVE_SECONDS = 1.0
COMPLAIN_SECONDS = 60.0
AGAIN_SECONDS = 1.0
BATCH = 500
WARNINGS = 100
OUTLIVED = (
    "{told} processes outlived the main process by {lingered:.1f} s and were terminated, so output"
    " may be missing. See `linger`, or let the program wait for them."
)

_log = logging.getLogger("dama.worker")


class Shipper:
    """Ships the files of one run.

    Args:
        execution: Whose events they become.
        directory: Where they are.
    """

    def __init__(self, execution: Execution, directory: RunDirectory) -> None:
        self._execution = execution
        self._directory = directory
        shipped = directory.read("shipped.json") or {}
        self._readers = {
            "stdout": LineReader(directory.stdout, MARK, Place.of(shipped.get("stdout"))),
            # Each line opens it by its name, whatever file that is by now.
            "events": LineReader(
                directory.events, b"", Place.of(shipped.get("events")), is_held=False
            ),
        }
        secrets = execution.writer.secrets
        self._masks = {
            "stdout": Mask(directory.stdout, secrets),
            "events": Mask(directory.events, secrets),
            "stderr": Mask(directory.stderr, secrets),
        }
        artifacts, warnings = shipped.get("artifacts"), shipped.get("warnings")
        self.artifacts = set(map(str, artifacts)) if is_list(artifacts) else set[str]()
        self._warnings = warnings if isinstance(warnings, int) else 0
        self._progress: Append | None = None
        self._stderr = Place.of(shipped.get("stderr"))
        self._complained_at = float("-inf")
        self._progress_at = float("-inf")
        self._saved_at = float("-inf")

    async def ship(self) -> bool:
        """Ship what is new in each file, a part of it at a time; whether there was any.

        Raises:
            LostSignal: The run was taken over, or its context has ended.
        """
        news = [await self._ship_part(name) for name in self._readers]
        await self._look_at_stderr()
        await self._ship_progress()
        return any(news)

    async def ship_rest(self) -> None:
        """Ship all that is left, when nothing comes any more."""
        for name in self._readers:
            while await self._has_part_of(name):
                await self._ship_progress()
        try:
            await self._look_at_stderr()
        except OSError as error:  # nothing of the run depends on it
            self.complain(error)
        self._progress_at = float("-inf")
        await self._ship_progress()
        self._save()

    async def tell_truncated(self, names: object) -> None:
        """Tell of logs that were truncated before anything of them was read.

        Args:
            names: Those that the shim found truncated.
        """
        stdout = self._readers["stdout"].place.generation
        # The keys of what would be told if it had been seen.
        for name, generation, key in (
            ("stdout", stdout, "stdout~1/0/warn"),
            ("stderr", self._stderr.generation, "stderr~1/warn"),
        ):
            if is_list(names) and name in names and not generation:
                await self.warn(key, TRUNCATED.format(name=name), stream=name)

    async def tell_ended(self, report: Mapping[str, Json]) -> None:
        """Tell of what outlived the main process too long: what it had still to write is lost.

        Args:
            report: How the program ended.
        """
        if report.get("told") and not report.get("why"):
            await self.warn("outlived/warn", OUTLIVED.format(**{"lingered": 0.0, **report}))

    def mask_rest(self) -> None:
        """Strike secrets out of all that it left, when nothing of it is read any more."""
        mask_all(self._directory, self._execution.writer.secrets, self._masks.values())

    async def warn(self, key: str, message: str, **facts: Json) -> None:
        """Tell of something that could not be used; a program that does nothing else is cut off."""
        if item := self._warning(key, message, facts):
            await self.append([item])

    async def append(self, items: Sequence[Append]) -> None:
        """Append events, however long the database is away."""
        while True:
            try:
                await self._execution.writer.append_all(items)
            except UnavailableError as error:
                _log.warning("context %s waits: %s", self._execution.claim.context_id, error)
                await clock.sleep(AGAIN_SECONDS)
            except RefusedError as error:
                await self._refused(items, error)
                return
            else:
                return

    def item(self, suffix: str, payload: object, key: str) -> Append:
        """An event of the controller about the program."""
        return self._execution.writer.event(suffix, payload, key=self._key(key))

    async def _ship_part(self, name: str, *, is_last: bool = False) -> bool:
        reader = self._readers[name]
        lines = reader.read(is_last=is_last)
        if lines is None:
            return False
        items = await self._all_taken(name, lines)
        for place in range(0, len(items), BATCH):
            await self.append(items[place : place + BATCH])
        if self._execution.writer.secrets:
            # Only what was read: a line that is struck out before is not an event any more.
            await off_loop(self._masks[name].apply, reader.place.offset)
            reader.look_again()
        if items or clock.monotonic() - self._saved_at > SAVE_SECONDS:
            self._save()
        await asyncio.sleep(0)  # others have their turn, however much there is
        return True

    async def _has_part_of(self, name: str) -> bool:
        """Ship the next part of a file that has come to its end; whether there was one."""
        while True:
            try:
                return await self._ship_part(name, is_last=True)
            except OSError as error:  # what was received is not left out because of it
                self.complain(error)
                await clock.sleep(AGAIN_SECONDS)

    async def _look_at_stderr(self) -> None:
        """No events are in it, but whoever reads it should know that something is missing."""
        if self._execution.writer.secrets:
            await off_loop(self._masks["stderr"].apply)
        descriptor = opened(self._directory.stderr)
        if descriptor is None:
            return
        try:
            size = os.fstat(descriptor).st_size
            is_new = size < self._stderr.offset or is_other(descriptor, self._stderr)
            generation = self._stderr.generation + is_new
            self._stderr = Place(size, generation=generation, before=before(descriptor, size))
        finally:
            os.close(descriptor)
        if is_new:
            what = TRUNCATED.format(name="stderr")
            await self.warn(f"stderr~{generation}/warn", what, stream="stderr")

    def complain(self, error: Exception) -> None:
        """Say in the worker's log what hinders, once a minute at most."""
        now = clock.monotonic()
        if now - self._complained_at >= COMPLAIN_SECONDS:
            self._complained_at = now
            _log.warning("context %s: %r", self._execution.claim.context_id, error)

    async def _ship_progress(self) -> None:
        now = clock.monotonic()
        if self._progress is None or now - self._progress_at < PROGRESS_SECONDS:
            return
        item, self._progress = self._progress, None
        self._progress_at = now
        try:
            check_event(item.event)
        except InvalidEventError:
            return
        await self.append([item])

    async def _all_taken(self, stream: str, lines: Sequence[Line]) -> list[Append]:
        def take() -> list[Append]:
            return [item for line in lines if (item := self._taken(stream, line)) is not None]

        if lines and self._execution.writer.secrets:  # a look for each of them takes longer
            return await off_loop(take)
        return await beside([line.text for line in lines], take)

    def _taken(self, stream: str, line: Line) -> Append | None:
        """The event of a line; None for progress, which is kept, and for nothing."""
        generation = self._readers[stream].place.generation
        place = f"{stream}~{generation}/{line.offset}" if generation else f"{stream}/{line.offset}"
        where = {"stream": stream, "offset": line.offset}
        if line.problem:
            return self._warning(f"{place}/warn", line.problem, where)
        if not line.text.strip():
            return None
        try:
            event = self._event(self._document(line.text), place)
        except InvalidEventError as error:
            return self._warning(f"{place}/warn", str(error), where)
        except Exception as error:  # noqa: BLE001 - one line ends neither the reading nor the run
            what = f"A line cannot be read as an event: {type(error).__name__}: {error}"
            return self._warning(f"{place}/warn", what[:500], where)
        item = Append(self._execution.claim.context_id, event)
        if event.type == f"{self._execution.claim.task}:PROGRESS":
            self._progress = item
            return None
        return item

    def _document(self, text: bytes) -> object:
        """What a line says, without secrets: before a message shows a part of it."""
        secrets = self._execution.writer.secrets
        if not secrets:
            return _decoded(text)
        try:
            return secrets.strike_all(_decoded(text))
        except InvalidEventError:
            return _decoded(secrets.strike(text.decode(errors="replace")).encode())

    def _event(self, document: object, place: str) -> Event:
        """Make the event that a program means.

        Raises:
            InvalidEventError: It is none, or one that only the controller writes.
        """
        task = self._execution.claim.task
        found = as_object(document)
        own = {"epoch": self._execution.claim.epoch, "idempotency_key": self._key(place)}
        is_progress = found.get("type") in (":PROGRESS", f"{task}:PROGRESS")
        if is_progress and found.keys() <= {"type", "payload"}:
            # Most of them are never written, so they are checked when one is.
            return Event(f"{task}:PROGRESS", found.get("payload", ABSENT), meta=own)
        event = event_of_program(parse_event(document), task, own)
        if event.type.endswith(":ARTIFACT"):
            self.artifacts.add(str(as_object(event.payload).get("path")))
        return event

    def _warning(self, key: str, message: str, facts: Mapping[str, Json]) -> Append | None:
        self._warnings += 1
        if self._warnings > WARNINGS:
            return None
        if self._warnings == WARNINGS:
            message = f"{message} It is the last warning of this run that is reported."
        return self.item(":WARN", {"message": message, **facts}, key)

    async def _refused(self, items: Sequence[Append], error: RefusedError) -> None:
        """The store takes all of a batch or nothing: find what it does not take."""
        if len(items) > 1:
            for item in items:
                await self.append([item])
            return
        (item,) = items
        if item.event.type.endswith(":WARN"):
            _log.warning("context %s: %s", item.context_id, error)
            return
        key = str(as_object(item.event.meta)["idempotency_key"])
        place = key.removeprefix(self._key(""))
        await self.warn(f"{place}/refused", str(error), type=item.event.type[:200])

    def _key(self, place: str) -> str:
        return f"ship/{self._directory.epoch}/{place}"

    def _save(self) -> None:
        self._saved_at = clock.monotonic()
        places = {name: asdict(reader.place) for name, reader in self._readers.items()}
        places["stderr"] = asdict(self._stderr)
        known = {"artifacts": sorted(self.artifacts), "warnings": self._warnings}
        try:
            self._directory.write("shipped.json", {**places, **known})
        except OSError as error:  # it is shipped again, which is harmless
            self.complain(error)


def _decoded(text: bytes) -> object:
    with suppress(InvalidJsonError):
        return decode(text)
    try:
        return decode(text.decode(errors="replace"))
    except InvalidJsonError as error:
        shown = text[:80].decode(errors="replace")
        raise InvalidEventError(
            f"An event is an object of JSON in one line: {error}. Found {shown!r}."
        ) from None
