"""`dama ls`: contexts, newest first."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import click

from dama.cli.group import examples, json_option
from dama.cli.numbers import ID
from dama.cli.output import print_json, print_more, print_table
from dama.cli.terminal import echo

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dama.cli.session import Session
    from dama.operations.contexts import ContextList, ListedContext
    from dama.store import ContextRow

STATUSES = ("OPEN", "DONE", "ERROR", "CANCELLED")
STATES = ("queued", "delayed", "blocked", "placed", "running", "waiting", "retrying")


def _params(ctx: click.Context, param: click.Parameter, values: tuple[str, ...]) -> dict[str, Any]:
    """What params must contain: `year=2013`, `source.name=x`, `full=true`; else a string."""
    wanted: dict[str, Any] = {}
    for text in values:
        path, equals, value = text.partition("=")
        if not equals or not all(path.split(".")):
            raise click.BadParameter(f"{text!r} is not of the form NAME=VALUE.", ctx, param)
        place = wanted
        *parents, name = path.split(".")
        for parent in parents:
            place = place.setdefault(parent, {})
        place[name] = _json_or_text(value)
    return wanted


def _json_or_text(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


def _ago(_: click.Context, param: click.Parameter, value: str | None) -> datetime | None:
    """The moment that an age means now."""
    if value is None:
        return None
    from dama.config.duration import parse_duration

    seconds = parse_duration(value, of=f"--{param.name}")
    return datetime.now(UTC) - timedelta(seconds=seconds)


@click.command(
    epilog=examples(
        "dama ls --status ERROR",
        "dama ls --task flights.load --param year=2013",
        "dama ls --user ada --since 1d",
        "dama ls --queue etl --run waiting",
        "dama ls --json | jq '.[].context_id'",
    )
)
@click.option(
    "--status",
    type=click.Choice(STATUSES, case_sensitive=False),
    help="Only those with this status.",
)
@click.option(
    "--task", metavar="NAME", help="Only those of this task, such as flights.load or flights.*."
)
@click.option("--service", metavar="NAME", help="Only those of the tasks of this service.")
@click.option("--user", metavar="NAME", help="Only what this user started.")
@click.option("--schedule", metavar="NAME", help="Only what this schedule started.")
@click.option(
    "--param",
    "params",
    multiple=True,
    metavar="NAME=VALUE",
    callback=_params,
    help="Only those started with this; a path such as source.year=2013 is a param, too.",
)
@click.option("--queue", metavar="NAME", help="Only those whose run is in this queue.")
@click.option(
    "--run", "state", type=click.Choice(STATES), help="Only those whose run is in this state."
)
@click.option("--worker", type=ID, metavar="ID", help="Only what this worker runs.")
@click.option("--since", metavar="AGE", callback=_ago, help="Created within this time: 90d, 12h.")
@click.option("--until", metavar="AGE", callback=_ago, help="Created at least this long ago.")
@click.option("--all", "subtasks", is_flag=True, help="Subtasks too, not only what was started.")
@click.option(
    "--before", type=ID, metavar="CONTEXT", help="Only those before this one: the next page."
)
@click.option(
    "--limit",
    type=click.IntRange(1, 1000),
    default=50,
    show_default=True,
    help="At most this many.",
)
@json_option()
@click.pass_obj
def ls(
    session: Session, *, subtasks: bool, before: int | None, limit: int, as_json: bool, **fits: Any
) -> None:
    """List contexts, newest first.

    One command looks at 20,000 contexts at most; if more are left, it says on standard error how
    to continue.
    """
    from dama.operations import contexts
    from dama.store.windows import ContextFilter

    chosen = ContextFilter(roots=not subtasks, **{name: fits[name] or None for name in fits})

    async def read() -> ContextList:
        async with session.app() as app:
            return await contexts.all_of(app, chosen, before=before, limit=limit)

    page = asyncio.run(read())
    if as_json:
        print_json(page.contexts)
    elif page.contexts:
        _print(page.contexts)
    else:
        echo(_nothing(page, is_filtered=any(fits.values()) or before is not None))
    if page.next_before is not None:
        print_more(f"--before {page.next_before}")


def _print(contexts: Sequence[ListedContext]) -> None:
    def run(context: ListedContext) -> str | None:
        word = run_word(context)
        return f"{word}, no worker" if context.no_worker else word

    print_table(
        ["context", "status", "run", "events", "created", "task"],
        [[c.context_id, c.status, run(c), c.version, c.created_at, c.task] for c in contexts],
    )
    if waiting := [context.context_id for context in contexts if context.no_worker]:
        echo(f"\nNo live worker has the task of some: dama queue why {waiting[0]}", err=True)


def _nothing(page: ContextList, *, is_filtered: bool) -> str:
    if page.next_before is not None:
        return f"No context matches among those from {page.next_before} on."
    return "No context matches." if is_filtered else "Nothing has run here yet."


def run_word(context: ContextRow) -> str | None:
    """What its run does: queued, running, waiting or retrying; None when there is none."""
    return str(context.run.state) if context.run else None
