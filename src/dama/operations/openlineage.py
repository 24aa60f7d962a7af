"""OpenLineage: send what runs read and wrote, beside or instead of the workers that do."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from dama.duty import Duty, on_duty
from dama.errors import UsageError
from dama.openlineage.settings import TRANSPORT

if TYPE_CHECKING:
    from collections.abc import Callable

    from dama.app import App


async def send(
    app: App,
    *,
    once: bool = False,
    from_beginning: bool = False,
    sent: Callable[[int], object] = lambda _: None,
) -> None:
    """Send what is not sent yet, and what comes, until it is cancelled.

    Args:
        app: What the process has.
        once: End when what is committed now is sent.
        from_beginning: When nothing was ever sent, begin with the first event of the log.
        sent: Called with the number of events that were sent, after each batch.

    Raises:
        UsageError: The settings name no place for them, or one that cannot be used.
        UnsentError: With `once`: the place is away. Without, it is waited for.
    """
    if app.openlineage is None:
        raise UsageError("The settings have no [openlineage].", TRANSPORT)
    from dama.openlineage.exporting import Exporting

    exporting = Exporting(app.openlineage)
    reader = await exporting.subscription(app.store, from_beginning=from_beginning, sent=sent)
    if once:
        await reader.catch_up()
        return
    async with on_duty(Duty("sending events of OpenLineage", reader.run, steady=None)):
        await asyncio.Event().wait()
