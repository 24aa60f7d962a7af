"""Waiting for services of this node or of others."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from dama.broker.errors import ServiceNotFoundError
from dama.broker.wire.seldom import Seldom

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dama.broker.catalog import Catalog

TELL_SECONDS = 3.0

_log = logging.getLogger("dama.broker")


class Arrivals:
    """Who waits for services, and is woken when the catalog changes.

    Args:
        catalog: What there is.
    """

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog
        self._changes = asyncio.Event()
        self._seldom = Seldom(_log)

    def changed(self) -> None:
        """Wake everybody: the catalog has changed."""
        self._changes.set()

    async def wait(self, names: Sequence[str], limit: float) -> None:
        """Wait until services are there, at most for some seconds; 0 for no limit.

        Raises:
            ServiceNotFoundError: They did not come in time.
        """
        try:
            async with asyncio.timeout(limit or None):
                while missing := self._missing(names):
                    self._changes.clear()
                    await self._changed_or_told(missing)
        except TimeoutError:
            missing = self._missing(names)
            raise ServiceNotFoundError(
                f"After {limit:g} s there is no service {', '.join(missing)}.",
                "`dama nodes` lists who is there.",
                data={"service": missing},
            ) from None

    def _missing(self, names: Sequence[str]) -> list[str]:
        return [name for name in names if not self._catalog.has_service(name)]

    async def _changed_or_told(self, missing: Sequence[str]) -> None:
        """Wait for a change of the catalog, and say from time to time what is still missing."""
        try:
            async with asyncio.timeout(TELL_SECONDS):
                await self._changes.wait()
        except TimeoutError:
            told = ", ".join(missing)
            self._seldom.write(
                logging.WARNING, told, "%s waits for the service %s", self._catalog.local.id, told
            )
