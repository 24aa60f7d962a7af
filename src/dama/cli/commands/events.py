"""`dama events`: the events of a context, or of all, as they are stored or as they come."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import click

from dama.cli.group import examples, json_option
from dama.cli.numbers import ID
from dama.cli.output import json_text, local_time, shortened
from dama.cli.terminal import echo, style
from dama.visible import on_one_line

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping

    from dama.app import App
    from dama.cli.session import Session
    from dama.domain.event import LoggedEvent, StoredEvent
    from dama.operations.finding import EventFilter


@click.command(
    epilog=examples(
        "dama events 42",
        "dama events 42 -f --tree",
        "dama events 42 --json | jq -r .type",
        "dama events 42 --failed                  its errors, the latest first",
        "dama events 42 --type '*:ERROR' --text timeout",
        "dama events --all -f             everything that happens, as it happens",
        "dama events --all --from 1000 --type flights.",
    )
)
@click.argument("context_id", metavar="[CONTEXT]", type=ID, required=False)
@click.option("--follow", "-f", is_flag=True, help="Wait for more; of a context, until it ends.")
@click.option("--all", "of_all", is_flag=True, help="Those of all contexts, with their positions.")
@click.option(
    "--from", "first", type=ID, metavar="POSITION", help="With --all: from this position on."
)
@click.option(
    "--type",
    "prefix",
    metavar="TYPE",
    help="With --all: how the type begins. Of a context: the type; a * is any text.",
)
@click.option("--text", metavar="TEXT", help="Of a context: in type, payload or meta.")
@click.option("--failed", is_flag=True, help="Of a context: only errors.")
@click.option(
    "--marks", is_flag=True, help="Of a context: only errors, and where a run begins or ends."
)
@click.option("--tree", is_flag=True, help="Those of its subtasks too.")
@click.option("--at", type=ID, metavar="EVENT", help="Up to this event only.")
@json_option("Print JSON lines: one event a line.")
@click.pass_obj
def events(
    session: Session,
    context_id: int | None,
    *,
    follow: bool,
    of_all: bool,
    first: int | None,
    prefix: str | None,
    text: str | None,
    failed: bool,
    marks: bool,
    tree: bool,
    at: int | None,
    as_json: bool,
) -> None:
    """Show the events of a context or of all, oldest first; those of a search latest first."""
    from dama.operations.finding import EventFilter

    is_search = not of_all and bool(prefix or text or failed or marks)
    _check(
        {
            "--all cannot be combined with a context, --tree or --at.":
                of_all and (context_id is not None or tree or at is not None),
            "--text, --failed and --marks are for the events of a context.":
                of_all and (text or failed or marks),
            "--at cannot be combined with --follow or --tree.":
                at is not None and (follow or tree),
            "--from requires --all.": not of_all and first is not None,
            "A search cannot be combined with --follow, --tree or --at.":
                is_search and (follow or tree or at is not None),
            "Name a context, or ask for --all.": context_id is None and not of_all,
        }
    )  # fmt: skip

    def chosen(app: App) -> AsyncIterator[StoredEvent]:
        if context_id is None:
            return _log(app, first or 1, prefix, follow=follow)
        if is_search:
            return _found(app, context_id, EventFilter(prefix, text, failed, marks))
        return _stream(app, context_id, follow=follow, tree=tree, at=at)

    asyncio.run(_print(session, chosen, log_line if of_all else event_line, as_json=as_json))


def _check(wrong: Mapping[str, object]) -> None:
    """Refuse the first combination of options that makes no sense."""
    for text, is_wrong in wrong.items():
        if is_wrong:
            raise click.UsageError(text)


async def _print(
    session: Session,
    chosen: Callable[[App], AsyncIterator[StoredEvent]],
    line: Callable[[Any], str],
    *,
    as_json: bool,
) -> None:
    async with session.app() as app:
        async for event in chosen(app):
            echo(json_text(event, indent=0) if as_json else line(event))


def log_line(event: LoggedEvent) -> str:
    """One event of the log on one line, its position first."""
    return f"{event.position:>7}  {event_line(event)}"


def event_line(event: StoredEvent) -> str:
    """One event as it is stored, on one line."""
    import msgspec

    has_payload = event.payload is not msgspec.UNSET
    payload = shortened(json_text(event.payload, indent=0), 200) if has_payload else ""
    type_ = style(on_one_line(event.type), bold=True, fg="red" if event.error is True else None)
    head = f"{event.event_id:>7}  {event.context_id:>5}  {local_time(event.created_at)}"
    return f"{head}  {type_}  {payload}".rstrip()


async def _stream(
    app: App, context_id: int, *, follow: bool, tree: bool, at: int | None
) -> AsyncIterator[StoredEvent]:
    from dama.operations import contexts

    if follow:
        async for event in contexts.follow(app, context_id, tree=tree):
            yield event
    elif tree:
        async for event in contexts.tree_events(app, context_id):
            yield event
    else:
        seen: int | None = 0
        while seen is not None:
            page = await contexts.events(app, context_id, after_version=seen, up_to_event=at)
            for event in page.events:
                yield event
            seen = page.next_after_version


async def _found(app: App, context_id: int, chosen: EventFilter) -> AsyncIterator[StoredEvent]:
    from dama.operations.finding import find

    before: int | None = None
    while True:
        found = await find(app, context_id, chosen, before=before)
        for event in found.events:
            yield event
        if (before := found.looked_to) is None:
            return


async def _log(
    app: App, first: int, prefix: str | None, *, follow: bool
) -> AsyncIterator[LoggedEvent]:
    from dama.store import LogFilter

    chosen = LogFilter(prefix=prefix)
    if follow:
        async for event in app.store.log.subscribe(first - 1, chosen):
            yield event
        return
    last, after = await app.store.log.position(), first - 1
    while after < last:
        page = await app.store.log.read(after, chosen)
        for event in page.events:
            yield event
        after = page.position
