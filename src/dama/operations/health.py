"""Health: what is wrong with an installation, and what to do about it."""

from __future__ import annotations

import asyncio
import os
import platform
import stat
from datetime import UTC, datetime
from shutil import disk_usage
from typing import TYPE_CHECKING

from dama.programs.process import process_start
from dama.programs.programs import directories_of
from dama.store.health import read_health
from dama.upkeep.doctor import Facts
from dama.upkeep.doctor import examine as findings
from dama.upkeep.host import adrift, kill_mode, units_of

if TYPE_CHECKING:
    from pathlib import Path

    from dama.app import App
    from dama.config.config import Config
    from dama.upkeep.doctor import Finding


async def examine(app: App, config: Config | None = None) -> list[Finding]:
    """Check the database, the queue, the workers, the log and the folder of dama's files."""
    home = config.home if config else app.home
    health = await read_health(app.store.database)  # first: the next one places events
    last = await app.store.log.position()
    subscriptions = await app.store.log.subscriptions()
    found = home.stat() if home.exists() else None
    return findings(
        Facts(
            health=health,
            log_position=last,
            now=datetime.now(UTC),
            free_disk=_free_disk(home),
            hints=app.store.hints.arrive,
            behind=[(row.name, max(last - row.position, 0)) for row in subscriptions],
            parked=sum(row.parked for row in subscriptions),
            circles=await app.store.queue.circles(),
            adrift=adrift(await directories_of(app.store, app.home)),
            kill_modes=await _kill_modes(app),
            home=str(home),
            home_mode=stat.S_IMODE(found.st_mode) if found else 0o700,
            is_own_home=found is None or found.st_uid == os.geteuid(),
        )
    )


async def _kill_modes(app: App) -> list[tuple[str, str]]:
    """The units of the workers of this host, and what systemd ends with them."""
    workers = await app.store.queue.workers_of_host(platform.node())
    units = units_of(pid for _, _, pid, started in workers if process_start(pid) == started)
    modes = [(unit.name, await asyncio.to_thread(kill_mode, unit)) for unit in units]
    return sorted((name, mode) for name, mode in modes if mode is not None)


def _free_disk(folder: Path) -> int:
    while not folder.exists():  # it is made when something is put there
        folder = folder.parent
    return disk_usage(folder).free
