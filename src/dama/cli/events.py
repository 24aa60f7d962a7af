"""`dama events`: the events of a context, as they are stored or as they come."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import click

from dama.cli.group import examples
from dama.cli.output import json_text, local_time, shortened

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from dama.app import App
    from dama.cli.session import Session
    from dama.domain.event import StoredEvent

PAGE = 1000


@click.command(
    epilog=examples(
        "dama events 42",
        "dama events 42 -f --tree",
        "dama events 42 --json | jq -r .type",
    )
)
@click.argument("context_id", metavar="CONTEXT", type=int)
@click.option("--follow", "-f", is_flag=True, help="Wait for more until the context has ended.")
@click.option("--tree", is_flag=True, help="Those of its subtasks too.")
@click.option("--at", type=int, metavar="EVENT", help="Up to this event only.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON lines: one event a line.")
@click.pass_obj
def events(
    session: Session, context_id: int, *, follow: bool, tree: bool, at: int | None, as_json: bool
) -> None:
    """Show the events of a context, oldest first."""
    if at is not None and (follow or tree):
        raise click.UsageError("--at goes neither with --follow nor with --tree.")

    async def read() -> None:
        async with session.app() as app:
            stream = _stream(app, context_id, follow=follow, tree=tree, at=at)
            async for event in stream:
                click.echo(json_text(event, indent=0) if as_json else event_line(event))

    asyncio.run(read())


def event_line(event: StoredEvent) -> str:
    """One event as it is stored, on one line."""
    import msgspec

    has_payload = event.payload is not msgspec.UNSET
    payload = shortened(json_text(event.payload, indent=0), 200) if has_payload else ""
    type_ = click.style(event.type, bold=True, fg="red" if event.error is True else None)
    head = f"{event.event_id:>7}  {event.context_id:>5}  {local_time(event.created_at)}"
    return f"{head}  {type_}  {payload}".rstrip()


async def _stream(
    app: App, context_id: int, *, follow: bool, tree: bool, at: int | None
) -> AsyncIterator[StoredEvent]:
    if follow:
        async for event in app.follow(context_id, tree=tree):
            yield event
    elif tree:
        context = await app.store.context(context_id)
        for event in await app.store.tree_events(context.root_context_id, {}):
            yield event
    else:
        await app.store.context(context_id)  # raises when there is none: no event is no error
        seen = 0
        while page := await app.store.events(
            context_id, after_version=seen, up_to_event=at, limit=PAGE
        ):
            for event in page:
                yield event
            seen = page[-1].version
