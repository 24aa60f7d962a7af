"""`dama open`: the pages in a browser, without typing a token."""

from __future__ import annotations

import asyncio
import os
import sys
import webbrowser
from typing import TYPE_CHECKING

import click

from dama.cli.commands.gateway import gateway_settings
from dama.cli.group import examples
from dama.cli.numbers import ID
from dama.cli.terminal import echo

if TYPE_CHECKING:
    from dama.cli.session import Session

SIGNS = ("DISPLAY", "WAYLAND_DISPLAY", "BROWSER")


@click.command("open", epilog=examples("dama open", "dama open 42", "dama open 42 --print"))
@click.argument("context_id", metavar="[CONTEXT]", type=ID, required=False)
@click.option("--print", "only_print", is_flag=True, help="Print the address, and open nothing.")
@click.pass_obj
def open_(session: Session, *, context_id: int | None, only_print: bool) -> None:
    """Open the pages in a browser, or the page of a context.

    A gateway must be running: `dama up` or `dama gateway` in another terminal. The address logs in
    whoever opens it first, within a minute; nobody else can see it on a shared machine.
    """
    settings = gateway_settings(session, None, None)

    async def find() -> str:
        from dama.pages.opening import address_of, address_to_open

        async with session.app() as app:
            address = await asyncio.to_thread(address_of, app, session.config().environment)
            path = f"/contexts/{context_id}" if context_id else "/"
            return await address_to_open(app, settings, address, path)

    address = asyncio.run(find())
    echo(address)
    if not only_print and _has_screen():
        webbrowser.open(address)


def _has_screen() -> bool:
    """Whether a browser opens beside the terminal, and not within it."""
    return sys.platform == "darwin" or any(name in os.environ for name in SIGNS)
