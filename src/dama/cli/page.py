"""The page of a run: served while `dama run --page` works, and on a terminal until Ctrl-C."""

from __future__ import annotations

import asyncio
import signal
import sys
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

from dama.cli.commands.gateway import gateway_settings, pages
from dama.cli.terminal import echo
from dama.errors import InvalidDefinitionError

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from dama.app import App
    from dama.cli.session import Session


@asynccontextmanager
async def page_of(session: Session, app: App, context_id: int) -> AsyncGenerator[None]:
    """Print the address of a context's page, which is there until the end of the block.

    A gateway of this home that answers shows it; else one begins here, at its usual port or at any
    that is free.
    """
    from dama.gateway.server import serving
    from dama.pages.opening import NoGatewayError, address_of, address_to_open

    settings = gateway_settings(session, None, None)
    async with AsyncExitStack() as stack:
        try:
            address = await asyncio.to_thread(address_of, app, session.config().environment)
        except NoGatewayError:
            site = pages(session)
            try:
                address = await stack.enter_async_context(serving(app, settings, site))
            except InvalidDefinitionError:  # somebody else listens at the port
                any_port = replace(settings, port=0)
                address = await stack.enter_async_context(serving(app, any_port, site))
        shown = await address_to_open(app, settings, address, f"/contexts/{context_id}")
        echo(f"Its page: {shown}", err=True)
        yield


async def stay(context_id: int) -> None:
    """Keep the page until Ctrl-C, where a person sits at the terminal."""
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        echo(f"\nSee it in a browser: dama up, and beside it dama open {context_id}", err=True)
        return
    echo(f"\nThe page stays until Ctrl-C. Open it again: dama open {context_id}", err=True)
    told = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGINT, told.set)
    try:
        await told.wait()
    finally:
        loop.remove_signal_handler(signal.SIGINT)
