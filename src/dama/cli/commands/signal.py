"""`dama signal`: an answer to what a task waits for; without one, what it asks."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import click

from dama.cli.group import examples, json_option
from dama.cli.json_input import METAVAR, read_json
from dama.cli.numbers import ID
from dama.cli.output import local_time, print_json, print_table
from dama.cli.terminal import echo
from dama.domain.exact import decode

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dama.cli.session import Session
    from dama.operations.questions import Question


@click.command(
    epilog=examples(
        "dama signal 42                              what its task waits for",
        "dama signal 42 approved",
        'dama signal 42 approval approved=true comment="as agreed"',
        "dama signal 42 approval --payload - < approval.json",
    )
)
@click.argument("context_id", metavar="CONTEXT", type=ID)
@click.argument("type_", metavar="[TYPE]", required=False)
@click.argument("fields", metavar="[NAME=VALUE]...", nargs=-1)
@click.option(
    "--payload", metavar=METAVAR, help="Any JSON: a file, - for standard input, or the JSON itself."
)
@click.option("--reason", metavar="TEXT", help="The reason; it is kept in the event.")
@json_option()
@click.pass_obj
def signal(
    session: Session,
    context_id: int,
    type_: str | None,
    fields: Sequence[str],
    *,
    payload: str | None,
    reason: str | None,
    as_json: bool,
) -> None:
    """Answer what the task of a context waits for; without TYPE, show what that is.

    A value that is JSON is taken as JSON, any other as a string. An answer that does not fit the
    form of the task is refused. The event says who answered.
    """
    event: dict[str, Any] = {"type": type_}
    if fields and payload is not None:
        raise click.UsageError("Give NAME=VALUE or --payload, not both.")
    if fields:
        event["payload"] = dict(_field(each) for each in fields)
    elif payload is not None:
        event["payload"] = read_json(payload, "--payload")

    async def ask() -> list[Question]:
        from dama.operations import questions

        async with session.app() as app:
            return await questions.of_context(app, context_id)

    async def answer() -> int:
        from dama.operations import contexts
        from dama.operations.who import person

        async with session.app() as app:
            return await contexts.dispatch(app, context_id, event, by=person(reason))

    if type_ is None:
        _show(asyncio.run(ask()), context_id, as_json=as_json)
        return
    event_id = asyncio.run(answer())
    if as_json:
        print_json({"context_id": context_id, "event_id": event_id})
    else:
        echo(f"Event {event_id} is in context {context_id}.")


def _show(questions: Sequence[Question], context_id: int, *, as_json: bool) -> None:
    if as_json:
        print_json([vars(question) for question in questions])
        return
    if not questions:
        echo(f"Context {context_id} waits for no event.")
        return
    rows = [
        (" or ".join(each.types), local_time(each.asked_at), each.question, each.fields)
        for each in questions
    ]
    print_table(("event", "since", "question", "fields"), rows)


def _field(given: str) -> tuple[str, Any]:
    name, equals, value = given.partition("=")
    if not (name and equals):
        raise click.UsageError(f"{given!r} is not NAME=VALUE, such as approved=true.")
    try:
        return name, decode(value)
    except ValueError:
        return name, value
