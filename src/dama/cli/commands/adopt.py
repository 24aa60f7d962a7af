"""`dama db adopt`: take the tables of the first system in, and say what is in them."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import click

from dama.cli.group import examples, json_option
from dama.cli.output import print_fields, print_json, print_next
from dama.cli.terminal import echo, echo_line, style

if TYPE_CHECKING:
    from dama.cli.session import Session
    from dama.store.adoption.adopt import Adopted
    from dama.store.adoption.audit import Audit

COLOURS = {"refused": "red", "flagged": "yellow", "kept": "cyan", "note": "green"}


@click.command(epilog=examples("dama db adopt --dry-run", "dama db adopt"))
@click.option("--dry-run", is_flag=True, help="Only say what is there and what will be done.")
@json_option()
@click.pass_obj
def adopt(session: Session, *, dry_run: bool, as_json: bool) -> int:
    """Take the database of the first system in: etl_context and event_store_prototype, in place.

    What is odd in its history is counted and kept. Programs that write these tables continue
    meanwhile and afterwards. It may be interrupted or killed at any moment: the same command
    continues. The exit code is 1 when something must be corrected first.
    """
    from dama.store.adoption.adopt import Adopted
    from dama.store.adoption.adopt import adopt as adopt_tables
    from dama.store.adoption.audit import audit

    def tell(what: str) -> None:
        echo(f"dama: {what}", err=True)

    url = session.url()
    done = asyncio.run(audit(url) if dry_run else adopt_tables(url, tell))
    if isinstance(done, Adopted):
        if as_json:
            print_json({"adopted": done})
        else:
            print_adopted(done)
        return 0 if done.is_whole else 1
    if as_json:
        print_json({"audit": done})
    else:
        print_audit(done)
    return 1 if done.refused else 0


def print_audit(found: Audit) -> None:
    """Print what an audit found."""
    of = "of the first system" if found.generation == "first" else "of its later generation"
    echo(f"The tables {of}; they belong to {found.owner}:")
    for table in (found.contexts, found.events):
        echo(f"  {table.name}: {table.rows:,} rows, ids up to {table.latest:,}")
        echo(f"  {'':{len(table.name)}}  checksum {table.checksum}")
    echo()
    for each in found.found:
        level = style(f"{each.level:7}", fg=COLOURS[each.level])
        more = ", …" if each.count > len(each.examples) else ""
        shown = f" ({', '.join(map(str, each.examples))}{more})" if each.examples else ""
        echo_line(f"{level}  {each.kind}: {each.count:,}{shown}")
        echo_line(f"         {each.will}")
    if not found.found:
        echo("Nothing is odd.")


def print_adopted(done: Adopted) -> None:
    """Print what an adoption came to."""
    if done.is_done:
        echo("The database was adopted before: nothing is left to do.")
        return
    print_audit(done.audit)
    echo()
    print_fields(
        [
            ("events before", f"{done.events:,}"),
            ("checksum before", done.before),
            ("checksum after", done.after),
        ]
    )
    echo(
        "Nothing of them was changed, and all of dama works on them now."
        if done.is_whole
        else "Somebody has changed or removed events meanwhile; that is refused from now on."
    )
    print_next(
        ("dama ls", "the contexts"),
        ("dama doctor", "whether all is well"),
        ("dama db rebuild --dry-run", "compares each context with its events"),
    )
