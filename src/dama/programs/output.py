"""Output: what a run prints or logs, line by line as it comes, for who watches it on this host.

Lines that tell an event are left out: the event is shown. Secrets are struck out here, too; the
files still have them until the worker has read that far.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from dama.definitions.errors import UnknownTaskError
from dama.programs.environment import secrets_of
from dama.programs.place import place_of
from dama.programs.programs import directories_of
from dama.programs.shipping import MARK
from dama.programs.tail import Growing

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from dama.definitions.registry import Registry
    from dama.domain.event import StoredEvent
    from dama.domain.secrets import Secrets
    from dama.programs.run_directory import RunDirectory
    from dama.shapes import Json
    from dama.store import Store


class Output:
    """What the program of one run prints.

    Args:
        directory: Its files, which need not be there yet.
        secrets: What is struck out.
    """

    def __init__(self, directory: RunDirectory, secrets: Secrets) -> None:
        paths = directory.stdout, directory.stderr
        self._files = [Growing(path, secrets=secrets) for path in paths]

    def news(self) -> Iterator[str]:
        """The lines that have ended since the last look, those of standard output first."""
        for file in self._files:
            with suppress(OSError):  # not made yet, or cleaned
                yield from filter(_is_for_people, file.news())

    def rest(self) -> Iterator[str]:
        """What is left when it has ended: last lines without an end."""
        yield from self.news()
        for file in self._files:
            if line := file.rest():
                yield from filter(_is_for_people, [line])


async def output_of(
    event: StoredEvent, params: Mapping[str, Any], store: Store, registry: Registry, home: Path
) -> Output | None:
    """What the run prints that an event begins or takes over; None when none does here.

    Args:
        event: Of its context.
        params: Of its context.
        store: Where the context is.
        registry: The tasks.
        home: The folder of dama's files.
    """
    name, _, suffix = event.type.rpartition(":")
    meta: Mapping[str, Json] = event.meta if isinstance(event.meta, Mapping) else {}
    epoch = meta.get("program_epoch")
    if epoch is None:  # a function, whose log is where its worker is: in this process, or near
        epoch = meta.get("epoch")
    elif meta.get("program_host") != place_of(home):
        return None
    if suffix not in {"STARTED", "ADOPTED"} or not isinstance(epoch, int):
        return None
    directory = (await directories_of(store, home)).of(event.context_id, epoch)
    try:
        task = registry.task(name)
    except UnknownTaskError:  # nobody declares it any more, so nobody knows its secrets
        return None
    return Output(directory, secrets_of(task, params, directory, registry.inherit))


def _is_for_people(line: str) -> bool:
    return not line.startswith(MARK.decode())
