"""Files of runs on this host: logs and working folders."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from typing import TYPE_CHECKING, cast

from dama.programs.process import place_of
from dama.programs.programs import directories_of
from dama.programs.tail import lines
from dama.run.errors import NoLogsError
from dama.upkeep.cleaning import clean as clean_host

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator
    from pathlib import Path

    from dama.app import App
    from dama.programs.run_directory import RunDirectory
    from dama.upkeep.cleaning import Cleaned


async def clean(app: App, *, dry_run: bool = False) -> Cleaned:
    """Remove what old runs have left on this host."""
    directories = await directories_of(app.store, app.home)
    return await clean_host(app.store, directories, app.keep, dry_run=dry_run)


async def work_dir_of(app: App, context_id: int) -> Path:
    """The working folder of a context's tree on this host, which need not be there.

    Raises:
        UnknownContextError: There is no such context.
    """
    context = await app.store.context(context_id)
    directories = await directories_of(app.store, app.home)
    return directories.work(context.root_context_id)


async def lines_of(app: App, context_id: int) -> AsyncGenerator[str]:
    """What a context has logged, then what its latest program printed, if that ran on this host.

    Raises:
        UnknownContextError: There is no such context.
    """
    context = await app.store.context(context_id)
    async for page in app.store.pages(context_id):
        for event in page:
            if event.type == f"{context.task}:LOG" and isinstance(event.payload, Mapping):
                yield str(cast("Mapping[str, object]", event.payload).get("message", ""))
    runs = (await directories_of(app.store, app.home)).of_context(context_id)
    for path in (runs[-1].stdout, runs[-1].stderr) if runs else ():
        for line in lines(path):
            yield line


async def runs_of(app: App, context_id: int) -> list[RunDirectory]:
    """The files of the programs that a context ran on this host, the oldest run first.

    Raises:
        UnknownContextError: There is no such context.
        NoLogsError: It ran no program, or none here.
    """
    found = (await directories_of(app.store, app.home)).of_context(context_id)
    if found:
        return found
    await app.store.context(context_id)
    hosts: set[str] = set()
    async for page in app.store.pages(context_id):
        metas = [e.meta for e in page if isinstance(e.meta, Mapping)]
        hosts |= {str(meta["program_host"]) for meta in metas if "program_host" in meta}
    if {platform.node(), place_of(app.home)} & hosts:
        raise NoLogsError(
            f"The files of the program of context {context_id} were cleaned.",
            "[keep] of dama.toml says how long they stay; its events are kept.",
        )
    if hosts:
        raise NoLogsError(
            f"The program of context {context_id} ran on {', '.join(sorted(hosts))}, and its "
            f"files are there; here nothing of it is in {app.home}."
        )
    raise NoLogsError(
        f"Context {context_id} has run no program.",
        f"`dama events {context_id}` shows what it did.",
    )
