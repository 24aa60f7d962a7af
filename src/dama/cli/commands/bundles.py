"""`dama export`, `dama import-run`: contexts leave for a file, and come into another database."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from dama.cli.group import examples, json_option, reason_option
from dama.cli.numbers import ID
from dama.cli.output import print_json, print_next
from dama.cli.terminal import echo
from dama.cli.where import where_option
from dama.counts import number_of

if TYPE_CHECKING:
    from dama.app import App
    from dama.cli.session import Session
    from dama.operations.bundles import Exported, Format, Imported


MOST_SHOWN = 10
FORMATS = ("bundle", "parquet", "redux-devtools")


@click.command(
    epilog=examples(
        "dama export 42 load.zip",
        "dama export 42 43 --logs --artifacts both.zip",
        "dama export --where task=flights.load,status=ERROR failed.zip",
        "dama export --where task=flights.load --format parquet events.parquet",
        "dama export 42 --format redux-devtools 42.json",
    )
)
@click.argument("contexts", metavar="[CONTEXT]...", type=ID, nargs=-1)
@click.argument("file", type=click.Path(path_type=Path))
@where_option("Export all contexts that match")
@click.option("--limit", type=click.IntRange(1), default=1000, show_default=True,
              help="With --where: how many at most, the newest.")  # fmt: skip
@click.option(
    "--format", "format_", type=click.Choice(FORMATS), default=FORMATS[0], show_default=True,
    help="bundle: for import-run; parquet: a row for each event; redux-devtools: one context, "
    "with its states.",
)  # fmt: skip
@click.option(
    "--slice", "slices", metavar="SLICE", multiple=True,
    help="With redux-devtools: the slices to show; all that are known by default.",
)  # fmt: skip
@click.option(
    "--logs", is_flag=True, help="Include the last MiB of each log of a program on this host."
)
@click.option(
    "--artifacts", is_flag=True, help="Include the files that programs left on this host."
)
@json_option()
@click.pass_obj
def export(session: Session, contexts: tuple[int, ...], file: Path, *, where: dict[str, Any] | None,
           limit: int, format_: Format, slices: tuple[str, ...], as_json: bool,
           **more: bool) -> None:  # fmt: skip
    """Write contexts with all below them into FILE, to look at them in another database.

    They are as they were at one moment, whoever works on them. The same contexts give the same
    file. Params, results and events are in it as they are; secrets never are, for they are not
    stored.
    """
    if bool(contexts) == (where is not None):
        raise click.UsageError("Give the contexts, or --where for all that match.")
    needs_services = format_ == "redux-devtools"

    async def write() -> Exported:
        from dama.operations import bundles

        async with session.app(with_services=needs_services) as app:
            given = list(contexts) if where is None else await _chosen(app, where, limit)
            wanted = bundles.Wanted(format_, slices, **more)
            return await bundles.export_as(app, given, file, wanted)

    done = asyncio.run(write())
    if as_json:
        print_json(done)
        return
    echo(
        f"{done.path}: {number_of(done.contexts, 'context')}, {number_of(done.events, 'event')}, "
        f"{done.bytes:,} bytes."
    )
    if format_ == "bundle":
        print_next((f"dama import-run {done.path}", "where another database is chosen"))


async def _chosen(app: App, where: dict[str, Any], limit: int) -> list[int]:
    from dama.operations import bundles
    from dama.store.windows import ContextFilter

    found = await bundles.chosen(app, ContextFilter(**where), limit + 1)
    if len(found) > limit:
        echo(f"More contexts match than --limit allows: the newest {limit} are written.", err=True)
    if found:
        return found[-limit:]
    raise click.UsageError("No context matches, so nothing was written.")


@click.command(
    "import-run",
    epilog=examples(
        "dama import-run load.zip",
        "dama import-run load.zip --pg-env test --reason 'to look at a failure'",
    ),
)
@click.argument("file", type=click.Path(path_type=Path))
@click.option(
    "--again", is_flag=True, help="Import what is here already again, as further contexts."
)
@reason_option()
@json_option()
@click.pass_obj
def import_run(
    session: Session, file: Path, *, again: bool, reason: str | None, as_json: bool
) -> None:
    """Bring the contexts of FILE, which `dama export` has written, into this database.

    They get new ids, have the states that they had, and say where they come from. All of them come
    in or none; a file that was imported before changes nothing. What was not ended is cancelled
    here: `dama resume` lets it continue in this database.
    """

    async def read() -> Imported:
        from dama.operations import bundles
        from dama.operations.who import person

        async with session.app() as app:
            return await bundles.import_bundle(app, file, again=again, by=person(reason))

    done = asyncio.run(read())
    if as_json:
        print_json(done)
        return
    for each in done.contexts:
        echo(f"Context {each.context_id} is context {each.source_id} of {each.database}.")
    for each in done.known:
        echo(f"Context {each.source_id} of {each.database} is here already: {each.context_id}.")
    if done.ended:
        ended = ", ".join(map(str, done.ended[:MOST_SHOWN])) + (
            ", …" if len(done.ended) > MOST_SHOWN else ""
        )
        echo(f"These had not ended, and are cancelled here: {ended}.", err=True)
    if done.contexts:
        print_next((f"dama show {done.contexts[0].context_id}", "what came of it"))
