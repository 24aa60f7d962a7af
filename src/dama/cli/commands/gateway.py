"""`dama gateway`: actions, tasks and contexts over HTTP. `dama up` serves them, too."""

from __future__ import annotations

import asyncio
import getpass
from functools import partial
from typing import TYPE_CHECKING

import click

from dama.cli.commands.worker import signals
from dama.cli.group import examples
from dama.cli.terminal import echo
from dama.telemetry import configure_log

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from dama.app import App
    from dama.broker.broker import Broker
    from dama.cli.session import Session
    from dama.gateway.application import Site
    from dama.gateway.settings import GatewaySettings


@click.command(
    epilog=examples(
        "dama gateway",
        "dama gateway --port 8090",
        "dama gateway --host 0.0.0.0        beyond loopback: dama token add ada first",
    )
)
@click.option("--host", metavar="ADDRESS", help="The address to listen on; loopback by default.")
@click.option(
    "--port", type=click.IntRange(0, 65535), help="The port; 8080 by default, 0 for any free one."
)
@click.pass_obj
def gateway(session: Session, *, host: str | None, port: int | None) -> int:
    """Serve actions, tasks and contexts over HTTP, until it is stopped.

    It knows nothing that is not in the database: any number of copies may serve behind any proxy.
    Every request needs a token. That of this user is in gateway.token of DAMA_HOME, and `dama token
    add` makes others. With `tokens = false` in [gateway] of dama.toml a gateway on loopback needs
    none: every account of the machine may do anything then.

    With [environments] in the settings file it serves all of them, each at /NAME/ and /api/NAME,
    unless one is chosen with --pg-env.
    """
    settings = gateway_settings(session, host, port)
    session.tell_unfit()
    if sessions := session.environments():
        return asyncio.run(_serve_each(sessions, settings))
    configure_log()

    async def serve() -> int:
        from dama.gateway.server import serving

        told, _ = signals()
        site = pages(session)
        async with (
            session.app(with_services=True, patience=0) as app,
            serving(app, settings, site) as address,
        ):
            echo(f"The gateway is at {address}; GET {address}/api lists what it serves.", err=True)
            echo(f"Its pages: {address}/ or dama open", err=True)
            echo(token_text(app, settings), err=True)
            await told.wait()
        return 0

    return asyncio.run(serve())


async def _serve_each(sessions: Sequence[Session], settings: GatewaySettings) -> int:
    from dama.cli.environments import Serving

    configure_log()
    told, _ = signals()

    async def wait(_session: Session, _app: App) -> int:
        await told.wait()
        return 0

    return await Serving(told, wait, settings, pages).serve(sessions)


def pages(session: Session) -> Callable[[App, Broker, GatewaySettings], Site]:
    """What makes the pages of a gateway of this project."""
    from dama.pages.site import Site

    return partial(Site, config=session.config())


def token_text(app: App, settings: GatewaySettings) -> str:
    """Where the token is with which the user of this process calls the gateway."""
    from dama.gateway.own_token import NAME

    if settings.needs_tokens:
        return f"The token of {getpass.getuser()} is in {app.home / NAME}."
    return "No token is needed: every account of this machine may call it and do anything."


def gateway_settings(session: Session, host: str | None, port: int | None) -> GatewaySettings:
    """The settings of the project, under what the command line says."""
    from dama.gateway.settings import read_settings

    config = session.config()
    return read_settings(config.gateway, config.source or "dama.toml", host=host, port=port)
