"""`dama db adopt`: take the tables of the first system in, and say what is in them."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import click

from dama.cli.group import examples, json_option
from dama.cli.output import print_fields, print_json, print_next
from dama.cli.terminal import echo, echo_line, style
from dama.counts import number_of

if TYPE_CHECKING:
    from dama.cli.session import Session
    from dama.store.adoption.adopt import Adopted
    from dama.store.adoption.audit import Audit
    from dama.store.adoption.later import Copied

FOLLOW_SECONDS = 2.0
COLOURS = {"refused": "red", "flagged": "yellow", "kept": "cyan", "note": "green"}


@click.command(
    epilog=examples(
        "dama db adopt --dry-run",
        "dama db adopt",
        "dama db adopt --follow",
        "dama db adopt --ended",
    )
)
@click.option("--dry-run", is_flag=True, help="Only say what is there and what will be done.")
@click.option(
    "--follow", is_flag=True,
    help="Of the later generation: copy what its programs write, every two seconds.",
)  # fmt: skip
@click.option(
    "--ended", is_flag=True,
    help="Of the later generation: its programs are switched off; copy the rest, and compare.",
)  # fmt: skip
@json_option()
@click.pass_obj
def adopt(session: Session, *, dry_run: bool, follow: bool, ended: bool, as_json: bool) -> int:
    """Take in the database of the first system, in place.

    Its tables are etl_context and event_store_prototype. What is odd in its history is counted and
    kept. Programs that write these tables continue meanwhile and afterwards. It may be interrupted
    or killed at any moment: the same command continues. The exit code is 1 when something must be
    corrected first.

    The tables of its later generation, data_manager.etl_contexts and event_store, are copied with
    their ids, and stay as they are.
    """
    if dry_run + follow + ended > 1:
        raise click.UsageError("Give one of --dry-run, --follow and --ended.")
    done = asyncio.run(_done(session.url(), dry_run=dry_run, follow=follow, ended=ended))
    if as_json:
        print_json({type(done).__name__.lower(): done})
    else:
        _print(done)
    return 0 if _is_well(done) else 1


async def _done(url: str, *, dry_run: bool, follow: bool, ended: bool) -> Adopted | Copied | Audit:
    from dama.store.adoption.adopt import adopt as adopt_tables
    from dama.store.adoption.audit import audit
    from dama.store.adoption.later import Copied

    def tell(what: str) -> None:
        echo(f"dama: {what}", err=True)

    if dry_run:
        return await audit(url)
    done = await adopt_tables(url, tell, ends=ended)
    while follow and isinstance(done, Copied):
        await asyncio.sleep(FOLLOW_SECONDS)
        done = await adopt_tables(url, tell)
    if ended and not isinstance(done, Copied):
        raise click.UsageError("--ended is for tables of the later generation, and there are none.")
    return done


def _is_well(done: Adopted | Copied | Audit) -> bool:
    from dama.store.adoption.audit import Audit

    return not done.refused if isinstance(done, Audit) else done.is_whole


def _print(done: Adopted | Copied | Audit) -> None:
    from dama.store.adoption.adopt import Adopted
    from dama.store.adoption.audit import Audit

    if isinstance(done, Audit):
        print_audit(done)
    elif isinstance(done, Adopted):
        print_adopted(done)
    else:
        print_copied(done)


def print_copied(done: Copied) -> None:
    """Print what a round of copying came to."""
    print_audit(done.audit)
    echo()
    if not done.is_ended:
        echo("All that was there is copied. Its programs may continue to write.")
        print_next(
            ("dama db adopt --follow", "copy what they write"),
            ("dama db adopt --ended", "when they are switched off"),
            ("dama ls", "the contexts"),
        )
        return
    print_fields([("before", done.before), ("after", done.after)])
    echo(
        "The copies are what the old events are. The old tables are not read any more."
        if done.is_whole
        else "Somebody has changed or removed events of the old tables: both sides differ."
    )


def print_audit(found: Audit) -> None:
    """Print what an audit found."""
    of = "of the first system" if found.generation == "first" else "of its later generation"
    echo(f"The tables {of}; they belong to {found.owner}:")
    for table in (found.contexts, found.events):
        echo(f"  {table.name}: {number_of(table.rows, 'row')}, ids up to {table.latest:,}")
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
