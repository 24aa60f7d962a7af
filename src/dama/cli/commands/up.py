"""`dama up`: everything on one machine in one command."""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING, Any

import click

from dama.cli.commands.gateway import gateway_settings, pages, token_text
from dama.cli.commands.worker import (
    WorkerOptions,
    launched,
    work_in_each,
    work_until_told,
    worker_options,
    worker_text,
)
from dama.cli.group import examples
from dama.cli.output import print_fields
from dama.cli.terminal import echo

if TYPE_CHECKING:
    from dama.app import App
    from dama.cli.session import Session
    from dama.gateway.settings import GatewaySettings


@click.command(
    epilog=examples(
        "dama up",
        "dama up --slots 4",
        "dama up --pg-env production --migrate",
        "dama up --until-idle             do what is queued, and end",
    )
)
@worker_options
@click.option("--host", metavar="ADDRESS", help="Where the gateway listens.")
@click.option(
    "--port", type=click.IntRange(0, 65535), help="The port; 8080 by default, 0 for any free one."
)
@click.option("--no-gateway", is_flag=True, help="Do not serve HTTP.")
@click.option("--migrate", is_flag=True, help="Migrate a database that is configured.")
@click.pass_obj
def up(
    session: Session,
    /,
    *,
    host: str | None,
    port: int | None,
    no_gateway: bool,
    migrate: bool,
    **chosen: Any,
) -> int:
    """Run all that this project needs on one machine: database, worker, schedules, gateway.

    The database is the embedded PostgreSQL, started and brought up to date, unless another one is
    configured: that is used as it is, or brought up to date with --migrate.

    SIGTERM, SIGHUP and Ctrl-C let the worker claim no more and end when its runs have; a second
    one ends it at once. What is not done then is queued again and continues with the next one. The
    embedded database stays, for programs that still run and for other commands: `dama db stop`
    stops it.

    With [environments] in the settings file all of them are served, unless --pg-env chooses one.
    One that is away does not hold up the others.
    """
    options = WorkerOptions(**chosen)
    settings = None if no_gateway else gateway_settings(session, host, port)
    session.tell_unfit()
    if sessions := session.environments():
        return asyncio.run(work_in_each(sessions, options, settings, pages, migrate=migrate))
    server = session.embedded()
    if server is None:
        return asyncio.run(_work(session, options, settings, migrate=migrate))
    try:
        return asyncio.run(_work(session, options, settings, migrate=False))
    finally:
        if server.status().running:
            echo("The database stays. Stop it with: dama db stop", err=True)


async def _work(
    session: Session, options: WorkerOptions, settings: GatewaySettings | None, *, migrate: bool
) -> int:
    if migrate:
        from dama.store import schema

        await schema.migrate(session.url())

    launches = launched(session, options)
    addresses: list[tuple[str, object]] = []

    def say(app: App) -> None:
        print_fields([*_what_runs(session, app, options), *addresses])
        if settings:
            echo(token_text(app, settings))
            echo("`dama open` opens the pages in a browser and logs in.")
        echo("\nCtrl-C stops it. From another terminal: dama open, dama ls, dama run NAME")
        if not app.registry.tasks:
            echo('There are no tasks yet. In dama.toml: services = ["my_project"]')

    async with session.app(with_services=True, patience=0) as app:
        if session.is_in_cluster:
            await app.broker()  # others may call its actions
        if settings is None:
            return await work_until_told(app, options, say, launches=launches)
        from dama.gateway.server import serving

        async with serving(app, settings, pages(session)) as address:
            addresses += [("gateway", address), ("pages", await _pages(app, settings, address))]
            app.gateway_url = app.gateway_url or address
            return await work_until_told(app, options, say, launches=launches)


async def _pages(app: App, settings: GatewaySettings, address: str) -> str:
    """Where the pages are; on a terminal an address that logs in once, as `dama open` prints it.

    The output of a service is kept and read by others, so none of them gets that one.
    """
    from dama.pages.opening import address_to_open

    if not sys.stdout.isatty():
        return f"{address}/"
    return await address_to_open(app, settings, address, "/")


def _what_runs(session: Session, app: App, options: WorkerOptions) -> list[tuple[str, object]]:
    config = session.config()
    return [
        *([("environment", config.environment)] if config.environment else []),
        ("database", _database_text(session)),
        ("worker", worker_text(app, options).removeprefix("worker for ")),
        ("project", config.project),
    ]


def _database_text(session: Session) -> str:
    from dama.config.config import ExternalDatabase

    database = session.config().database
    if isinstance(database, ExternalDatabase):
        return f"that of {database.source}"
    server = session.embedded()
    status = server.status() if server else None
    return f"embedded PostgreSQL {status.version}, {status.data}" if status else "-"
