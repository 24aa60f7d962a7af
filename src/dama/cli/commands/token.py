"""`dama token`: who may call over HTTP."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import click

from dama.cli.group import examples, json_option, reason_option
from dama.cli.output import print_json, print_table
from dama.cli.terminal import echo, echo_line

if TYPE_CHECKING:
    from dama.cli.session import Session
    from dama.store.tokens import TokenRow

SCOPES = ("viewer", "operator", "admin")


@click.group(
    epilog=examples(
        "dama token add ada --scope operator",
        "dama token add dashboard --scope viewer --expires 90d",
        "dama token ls",
        "dama token revoke ada",
    )
)
def token() -> None:
    """Create, list and revoke the tokens that requests to the gateway show.

    A viewer reads, an operator starts, cancels and changes, an admin may do all.
    """


@token.command(epilog=examples("dama token add ada --scope operator --service flights"))
@click.argument("name")
@click.option(
    "--scope",
    type=click.Choice(SCOPES),
    default="viewer",
    show_default=True,
    help="What it allows.",
)
@click.option(
    "--service", "services", multiple=True, metavar="NAME", help="Only for this service; repeat it."
)
@click.option(
    "--expires", metavar="DURATION", help="When it expires, such as 12h or 90d; by default never."
)
@reason_option()
@json_option()
@click.pass_obj
def add(
    session: Session,
    name: str,
    *,
    scope: str,
    services: tuple[str, ...],
    expires: str | None,
    reason: str | None,
    as_json: bool,
) -> None:
    """Create a token and print it: it cannot be read again."""
    from dama.config.duration import parse_duration
    from dama.operations import tokens
    from dama.operations.who import person

    lifetime = None if expires is None else parse_duration(expires, of="--expires")

    async def make() -> str:
        async with session.app() as app:
            return await tokens.add(
                app,
                name,
                scope,
                services=services or None,
                lifetime=lifetime,
                by=person(reason),
            )

    text = asyncio.run(make())
    if as_json:
        print_json({"name": name, "scope": scope, "services": services or None, "token": text})
        return
    echo(text)
    echo("Keep it: only its digest is stored. Header: Authorization: Bearer TOKEN", err=True)


@token.command("ls", epilog=examples("dama token ls --json"))
@json_option()
@click.pass_obj
def list_(session: Session, *, as_json: bool) -> None:
    """List the tokens, the newest first; revoked ones too."""

    async def read() -> list[TokenRow]:
        async with session.app() as app:
            return await app.store.tokens.all()

    found = asyncio.run(read())
    if as_json:
        print_json(found)
    elif not found:
        echo("There are no tokens. Create one: dama token add NAME --scope operator")
    else:
        columns = ["name", "scope", "services", "created", "by", "expires", "revoked"]
        print_table(
            columns,
            [
                [
                    row.name,
                    row.scope,
                    "all" if row.services is None else ", ".join(row.services),
                    row.created_at,
                    row.created_by,
                    row.expires_at,
                    row.revoked_at,
                ]
                for row in found
            ],
        )


@token.command(epilog=examples("dama token revoke ada"))
@click.argument("name")
@reason_option()
@click.pass_obj
def revoke(session: Session, name: str, *, reason: str | None) -> None:
    """Revoke a token: it stops working within a second."""
    from dama.operations import tokens
    from dama.operations.who import person

    async def write() -> None:
        async with session.app() as app:
            await tokens.revoke(app, name, person(reason))

    asyncio.run(write())
    echo_line(f"The token {name} is revoked.")
