"""A limit: how long something may take before it is stopped."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator


@dataclass(frozen=True)
class Limit:
    """How long something may take.

    Attributes:
        what: How the error names it.
        seconds: None for no limit.
    """

    what: str = ""
    seconds: float | None = None

    @asynccontextmanager
    async def held(self) -> AsyncGenerator[None]:
        """Do it; it is cancelled when its time is over.

        Raises:
            TimeoutError: It took longer.
        """
        timer = asyncio.timeout(self.seconds)
        try:
            async with timer:
                yield
        except TimeoutError as error:
            if not timer.expired():
                raise
            raise TimeoutError(
                f"{self.what} timed out after {self.seconds:g} s and was stopped."
            ) from error


NO_LIMIT = Limit()
