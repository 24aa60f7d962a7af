"""`dama emit`: an event from outside a run, written by a person or a script."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import click

from dama.cli.group import examples, json_option
from dama.cli.json_input import METAVAR, read_json
from dama.cli.numbers import AFTER, ID
from dama.cli.output import print_json
from dama.cli.terminal import echo

if TYPE_CHECKING:
    from dama.cli.session import Session


@click.command(
    epilog=examples(
        "dama emit 42 approved",
        """dama emit 42 rows/month_loaded --payload '{"month": 3, "rows": 28834}'""",
        "dama emit 42 approved --payload - < approval.json",
        "dama emit :PROGRESS done=3 total=10     within a program",
    )
)
@click.argument("context_id", metavar="CONTEXT", type=ID)
@click.argument("type_", metavar="TYPE")
@click.option(
    "--payload", metavar=METAVAR, help="Any JSON: a file, - for standard input, or the JSON itself."
)
@click.option("--meta", metavar="JSON", help="A JSON object.")
@click.option("--error", is_flag=True, help="Mark it as an error; the payload says which.")
@click.option(
    "--expect", type=AFTER, metavar="VERSION", help="Refuse when the context has another version."
)
@click.option("--reason", metavar="TEXT", help="The reason; it is kept in the event.")
@json_option()
@click.pass_obj
def emit(
    session: Session,
    context_id: int,
    type_: str,
    *,
    payload: str | None,
    meta: str | None,
    error: bool,
    expect: int | None,
    reason: str | None,
    as_json: bool,
) -> None:
    """Append an event to a context.

    Within a program, where $DAMA_EVENTS is set, `dama emit TYPE name=value ...` is an event of its
    own context: a value that is JSON is taken as JSON, and the worker ships it.
    """
    event = _event(type_, payload, meta, error=error)

    async def append() -> int:
        from dama.operations import contexts
        from dama.operations.who import person

        async with session.app() as app:
            by = person(reason)
            return await contexts.dispatch(app, context_id, event, expected=expect, by=by)

    event_id = asyncio.run(append())
    if as_json:
        print_json({"context_id": context_id, "event_id": event_id})
    else:
        echo(f"Event {event_id} is in context {context_id}.")


def _event(type_: str, payload: str | None, meta: str | None, *, error: bool) -> dict[str, Any]:
    """Make the event; what was not given is absent, which is not the same as null."""
    parts: dict[str, Any] = {"type": type_}
    if payload is not None:
        parts["payload"] = read_json(payload, "--payload")
    if meta is not None:
        parts["meta"] = read_json(meta, "--meta")
    if error:
        parts["error"] = True
    return parts
