"""The composition root: the only place where configuration, store, registry and worker meet."""

from __future__ import annotations

import asyncio
import os
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import TYPE_CHECKING, Unpack

from dama import clock
from dama.config.config import Config, EmbeddedDatabase, home_of
from dama.duty import Duty, on_duty
from dama.embedded import EmbeddedPostgres
from dama.openlineage.settings import read_openlineage
from dama.programs.place import JOBS
from dama.run.broker_source import BrokerSource, no_broker
from dama.store import Store, schema
from dama.store.conninfo import check_conninfo
from dama.upkeep.cleaning import Keep, read_keep

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Sequence
    from pathlib import Path

    from dama.definitions.registry import Registry
    from dama.openlineage.settings import OpenLineageSettings
    from dama.worker.offer import Asked
    from dama.worker.worker import Worker


LOOK_SECONDS = 2.0


class App:
    """dama, opened on one database.

    Attributes:
        store: Its contexts and events.
        registry: The services of this process.
        home: The folder of dama's files.
        keep: How long things stay on this host.
        broker: Gives what calls actions, once `dama.shipped` has put it there.
        gateway_url: Where programs reach the gateway; None when they are not told.
        jobs: The folders of the homes of batch jobs that are seen from here, or might be.
        openlineage: How events of OpenLineage are sent; None where nobody wants them.
    """

    def __init__(
        self,
        store: Store,
        registry: Registry,
        home: Path | None = None,
        keep: Keep = Keep(),
    ) -> None:
        self.keep = keep
        self.broker: BrokerSource = no_broker
        self.gateway_url: str | None = None
        self.store = store
        self.registry = registry
        self.home = home or home_of(os.environ)
        self.jobs: Sequence[Path] = [self.home / JOBS]
        self.openlineage: OpenLineageSettings | None = None

    @classmethod
    @asynccontextmanager
    async def open(cls, config: Config, registry: Registry) -> AsyncGenerator[App]:
        """Open the database that the configuration names; the embedded one is started and migrated.

        Raises:
            UnavailableError: It cannot be used; the message says why.
        """
        from dama.launchers.settings import folders_of_jobs

        keep = read_keep(config.keep, config.source)
        conninfo = await _conninfo(config)
        async with on_duty(*_duties(config)), Store.opened(conninfo) as store:
            app = cls(store, registry, config.home, keep)
            url = config.gateway.get("url")
            app.gateway_url = url if isinstance(url, str) else None
            app.jobs = folders_of_jobs(config)
            app.openlineage = read_openlineage(config)
            yield app

    def working(self, **asked: Unpack[Asked]) -> AbstractAsyncContextManager[Worker]:
        """A worker in this process, for one tree or for all that it knows; see `Asked`.

        Raises:
            UsageError: Events of OpenLineage are wanted, and cannot be sent as the settings say.
        """
        from dama.worker.worker import Worker  # most commands have none

        if self.openlineage and asked.get("root") is None and asked.get("placed") is None:
            from dama.openlineage.exporting import Exporting

            asked.setdefault("exporting", Exporting(self.openlineage))
        worker = Worker(
            self.store,
            self.registry,
            home=self.home,
            keep=self.keep,
            broker=self.broker,
            gateway_url=self.gateway_url,
            **asked,
        )
        return worker.working()


def _duties(config: Config) -> list[Duty]:
    """What an embedded database needs for as long as somebody may connect to it again."""
    if not isinstance(config.database, EmbeddedDatabase):
        return []
    server = EmbeddedPostgres(config.home)

    async def keep_reachable() -> None:
        while True:
            await clock.sleep(LOOK_SECONDS)
            await asyncio.to_thread(server.keep_reachable)

    return [Duty("keeping the database reachable", keep_reachable)]


async def _conninfo(config: Config) -> str:
    if not isinstance(config.database, EmbeddedDatabase):
        check_conninfo(config.database.conninfo, config.database.source)
        return config.database.conninfo
    conninfo = await asyncio.to_thread(EmbeddedPostgres(config.home).start)
    # It belongs to nobody else, so it may follow the program.
    await schema.migrate(conninfo)
    return conninfo
