"""`dama fork`: a context continues after one of its events again, as another context."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

from dama.cli.group import examples, json_option
from dama.cli.json_input import METAVAR, read_json
from dama.cli.log_level import LOG_LEVEL, LOG_LEVEL_HELP
from dama.cli.numbers import ID
from dama.cli.output import json_text, print_json, print_next, print_table
from dama.cli.terminal import echo
from dama.cli.where import where_option
from dama.counts import number_of

if TYPE_CHECKING:
    from dama.app import App
    from dama.cli.session import Session
    from dama.operations.forks import Batch, Fork
    from dama.shapes import Json


def _values(ctx: click.Context, param: click.Parameter, texts: tuple[str, ...]) -> dict[str, Any]:
    """`NAME=VALUE`, where the value is JSON or else a text."""
    found: dict[str, Any] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or not name:
            raise click.BadParameter(f"{text!r} is not of the form NAME=VALUE.", ctx, param)
        try:
            found[name] = json.loads(value)
        except ValueError:
            found[name] = value
    return found


@click.command(
    epilog=examples(
        "dama fork 42 --at 1234",
        "dama fork 42 --at-step check --reason 'the file was replaced'",
        "dama fork 42 --at 1240 --payload '{\"approved\": true}'",
        "dama fork 42 --at 1201 --param year=2014 --enqueue",
        "dama fork --where task=flights.load,status=ERROR --at-step check",
    )
)
@click.argument("context_id", metavar="[CONTEXT]", type=ID, required=False)
@click.option("--at", type=ID, metavar="EVENT", help="The last event that it shares.")
@click.option("--at-step", "step", metavar="STEP", help="Share everything before this step.")
@click.option("--payload", metavar=METAVAR, help="A different payload for that event: any JSON.")
@click.option("--edit", is_flag=True, help="Edit the payload of that event in your editor.")
@click.option(
    "--param", "params", multiple=True, metavar="NAME=VALUE", callback=_values,
    help="A different value of a param: JSON, or else a string.",
)  # fmt: skip
@where_option("Fork all contexts that match and have no fork yet")
@click.option("--limit", type=click.IntRange(1), default=1000, show_default=True,
              help="With --where: how many at most.")  # fmt: skip
@click.option("--reason", metavar="TEXT", help="The reason; it is kept in the event.")
@click.option("--enqueue", is_flag=True, help="Return at once; a worker executes it.")
@click.option("--quiet", is_flag=True, help="Print only the result and errors.")
@click.option("--log-level", type=LOG_LEVEL, help=LOG_LEVEL_HELP)
@json_option("Print the outcome as one JSON document.")
@click.pass_obj
def fork(session: Session, context_id: int | None, *, where: dict[str, Any] | None, limit: int,
         enqueue: bool, quiet: bool, log_level: str | None, as_json: bool,
         **asked: Any) -> int:  # fmt: skip
    """Make a context with the history of another one up to an event, and let it continue there.

    Steps before that event are not done again; subtasks that were done then are referred to, and
    those that were not are forked with it. The other context stays as it is. It runs here, and is
    followed to its end; with --where all are queued.
    """
    wanted = _Wanted(**asked)
    if where is not None and context_id is None:
        return asyncio.run(_fork_all(session, wanted, where, limit, as_json=as_json))
    if context_id is None or where is not None:
        raise click.UsageError("Give a CONTEXT, or --where for all that match.")
    if enqueue:
        return asyncio.run(_fork_elsewhere(session, wanted, context_id, as_json=as_json))
    from dama.cli.follow import followed

    async def begin(app: App) -> int:
        made = await _forked(app, wanted, context_id)
        if not quiet and not as_json:
            _print_fork(made)
        return made.context_id

    return followed(session, begin, as_json=as_json, quiet=quiet, log_level=log_level)


@dataclass(frozen=True)
class _Wanted:
    """A fork, as it was asked for."""

    at: int | None
    step: str | None
    payload: str | None
    edit: bool
    params: dict[str, Any]
    reason: str | None


async def _forked(app: App, wanted: _Wanted, context_id: int) -> Fork:
    from dama.domain.event import ABSENT
    from dama.operations import forks
    from dama.operations.who import person

    payload: Json = ABSENT
    if wanted.edit and wanted.payload is not None:
        raise click.UsageError("Give --payload or --edit, not both.")
    if wanted.payload is not None:
        payload = read_json(wanted.payload, "--payload")
    elif wanted.edit:
        point = await forks.point_of(app, context_id, wanted.at, wanted.step)
        payload = _edited(None if point.payload is ABSENT else point.payload)
    edits, by = forks.Edits(payload, wanted.params), person(wanted.reason)
    return await forks.fork(app, context_id, wanted.at, step=wanted.step, edits=edits, by=by)


def _edited(payload: Json) -> Any:
    edited = click.edit(json_text(payload), extension=".json")
    if edited is None:
        raise click.UsageError("Nothing was saved in the editor, so nothing was forked.")
    return read_json(edited, "the editor")


async def _fork_elsewhere(
    session: Session, wanted: _Wanted, context_id: int, *, as_json: bool
) -> int:
    async with session.app(with_services=True) as app:
        made = await _forked(app, wanted, context_id)
    if as_json:
        print_json(made)
        return 0
    _print_fork(made)
    print_next(
        (f"dama events {made.context_id} -f", "follow it"),
        ("dama workers", "who may execute it"),
    )
    return 0


async def _fork_all(
    session: Session, wanted: _Wanted, where: dict[str, Any], limit: int, *, as_json: bool
) -> int:
    from dama.operations import forks
    from dama.operations.who import person
    from dama.store.windows import ContextFilter

    if wanted.step is None or wanted.at or wanted.payload is not None or wanted.edit:
        raise click.UsageError("With --where, say where by --at-step; params can be others.")
    chosen, by = ContextFilter(**where), person(wanted.reason)
    async with session.app(with_services=True) as app:
        batch = await forks.fork_all(
            app, chosen, wanted.step, params=wanted.params, by=by, limit=limit
        )
    if as_json:
        print_json(batch)
    else:
        _print_batch(batch)
    return 1 if batch.refused else 0


def _print_fork(made: Fork) -> None:
    echo(
        f"Context {made.context_id} continues after event {made.event_id} of context "
        f"{made.forked_from}, with {number_of(made.version, 'event')} of it."
    )
    if len(made.contexts) > 1:
        below = ", ".join(map(str, made.contexts[1:]))
        echo(f"Subtasks that were not done then are forked with it: {below}.")
    if made.rows_are_there:
        steps = ", ".join(made.rows_are_there)
        echo(
            f"Their rows are there already from context {made.forked_from}, and may come twice: "
            f"{steps}.",
            err=True,
        )


def _print_batch(batch: Batch) -> None:
    if batch.forks:
        print_table(
            ["context", "forked from", "after event"],
            [[made.context_id, made.forked_from, made.event_id] for made in batch.forks],
        )
    else:
        echo("No context was forked.")
    if batch.known:
        echo(f"Forked before, and left alone: {', '.join(map(str, batch.known))}.")
    for context_id, why in batch.refused.items():
        echo(f"Context {context_id}: {why}", err=True)
