"""`dama slice`: slices whose states are kept as tables, for people with psql and notebooks."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import click

from dama.cli.group import examples, json_option, reason_option
from dama.cli.output import counted, print_json, print_table
from dama.cli.terminal import echo, echo_line
from dama.counts import number_of

if TYPE_CHECKING:
    from dama.cli.session import Session
    from dama.operations.slices import Dropped, SliceTables
    from dama.store.slice_build import SliceBuild
    from dama.store.slice_tables import SliceTable


@click.group("slice", epilog=examples("dama slice materialise rows_loaded", "dama slice ls"))
def slice_() -> None:
    """Keep states of slices as tables, which SQL can read.

    The view slice_states of the schema _data_manager_admin has them: one row for each context
    that has an event of the slice.
    """


@slice_.command(
    epilog=examples(
        "dama slice materialise rows_loaded",
        "dama slice materialise rows_loaded --once",
        "dama slice materialise rows_loaded --rebuild --once",
    )
)
@click.argument("name")
@click.option("--once", is_flag=True, help="End when all that is committed now is folded.")
@click.option(
    "--rebuild", is_flag=True,
    help="Fold everything again; the old rows stay until that is done.",
)  # fmt: skip
@json_option("Print the table as one JSON document when it has caught up.")
@click.pass_obj
def materialise(session: Session, name: str, *, once: bool, rebuild: bool, as_json: bool) -> None:
    """Keep the states of a slice as a table, until Ctrl-C.

    First the events that exist, then each new one. It may be stopped and started again at any
    time, on any machine: each event is folded once.
    """
    from dama.operations import slices

    async def keep() -> None:
        async with session.app(with_services=name != "lifecycle") as app:
            build: SliceBuild | None = await slices.begin(app, name, rebuild=rebuild)
            while build is not None:
                table = await slices.materialise(app, build)
                if table is not None:
                    _tell(table, as_json=as_json, once=once)
                    if once:
                        return
                    await build.follow()
                # Nobody wants this build: it was replaced, or the slice was dropped.
                kept = {each.slice for each in await app.store.slice_tables.tables()}
                build = await slices.begin(app, name) if name in kept else None
            echo_line(f"The slice {name} was dropped.", err=True)

    asyncio.run(keep())


def _tell(table: SliceTable, *, as_json: bool, once: bool) -> None:
    if as_json:
        print_json(table)
        return
    echo_line(
        f"slice_states has {counted(table.rows)} contexts of {table.slice}, version "
        f"{table.version}, up to position {table.position}."
    )
    if table.parked:
        echo(
            f"Contexts that wait at an event that cannot be folded: {counted(table.parked)}. "
            "dama log status",
            err=True,
        )
    if not once:
        echo("Keeping it; Ctrl-C stops.")


@slice_.command("ls", epilog=examples("dama slice ls", "dama slice ls --json"))
@json_option()
@click.pass_obj
def ls(session: Session, *, as_json: bool) -> None:
    """List the slices that are tables, and how far each is behind."""
    from dama.operations import slices

    async def read() -> SliceTables:
        async with session.app() as app:
            return await slices.tables(app)

    found = asyncio.run(read())
    if as_json:
        print_json(found)
        return
    if not found.tables:
        echo("No slice is kept as a table: dama slice materialise NAME")
        return
    names = ["slice", "version", "state", "position", "behind", "modified_at"]
    print_table(
        [*names, "contexts", "parked"],
        [
            [*(table[each] for each in names), counted(table["rows"]), counted(table["parked"])]
            for table in found.tables
        ],
    )


@slice_.command(epilog=examples("dama slice drop rows_loaded"))
@click.argument("name")
@reason_option()
@json_option()
@click.pass_obj
def drop(session: Session, name: str, *, reason: str | None, as_json: bool) -> None:
    """Stop keeping a slice as a table; its events stay.

    The rows of the table are removed.
    """
    from dama.operations import slices
    from dama.operations.who import person

    async def drop_it() -> Dropped:
        async with session.app() as app:
            return await slices.drop(app, name, by=person(reason))

    done = asyncio.run(drop_it())
    if as_json:
        print_json(done)
    else:
        rows = number_of(done.rows, "row was", "rows were")
        echo_line(f"{done.slice} is no longer kept; {rows} removed.")
