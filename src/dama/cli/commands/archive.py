"""`dama archive`: closed trees, out of the way."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import click

from dama.cli.group import examples, json_option
from dama.cli.numbers import ID
from dama.cli.output import print_json, print_table
from dama.cli.terminal import echo
from dama.counts import number_of

if TYPE_CHECKING:
    from dama.cli.session import Session
    from dama.store.archive import Moved


def _age(ctx: click.Context, param: click.Parameter, value: str) -> timedelta:
    from dama.config.duration import parse_duration

    return timedelta(seconds=parse_duration(value, of="--older-than"))


FOLDER = click.Path(path_type=Path, file_okay=False)

older_than = click.option(
    "--older-than", "age", required=True, metavar="AGE", callback=_age, help="Such as 90d or 12h."
)


@click.group(
    epilog=examples(
        "dama archive add --older-than 90d --dry-run",
        "dama archive restore 42",
        "dama archive move --older-than 365d --to /backup/dama",
    )
)
def archive() -> None:
    """Move closed trees out of the working tables, and bring them back.

    They go into archived_context and archived_event of the same schema.
    """


@archive.command(
    epilog=examples(
        "dama archive add --older-than 90d --dry-run", "dama archive add --older-than 90d"
    )
)
@older_than
@click.option("--failed", is_flag=True, help="Include trees that failed and could be resumed.")
@click.option("--dry-run", is_flag=True, help="Only say how many.")
@json_option()
@click.pass_obj
def add(session: Session, *, age: timedelta, failed: bool, dry_run: bool, as_json: bool) -> None:
    """Archive trees in which nothing has happened for a while.

    A tree stays while something in it is open, and until every durable subscription has handled
    it. The idempotency keys of its contexts are free again.
    """
    from dama.operations import archive as verbs

    async def move() -> verbs.Closed | Moved:
        async with session.app() as app:
            if dry_run:
                return await verbs.count(app, age, failed=failed)
            return await verbs.add(app, age, failed=failed)

    done = asyncio.run(move())
    if as_json:
        print_json(done)
    elif isinstance(done, verbs.Closed):
        trees = number_of(done.trees, "tree", more=done.or_more)
        echo(f"{trees} would be archived.")
    else:
        echo(_said(done, "archived"))


@archive.command(
    epilog=examples("dama archive restore 42", "dama archive restore 42 --from /backup/dama")
)
@click.argument("context", type=ID)
@click.option("--from", "folder", type=FOLDER, metavar="FOLDER", help="Where its file is.")
@json_option()
@click.pass_obj
def restore(session: Session, context: int, *, folder: Path | None, as_json: bool) -> None:
    """Bring back the tree of a context.

    From the archive or from its file: everything is as it was, with its ids. The file stays.
    """
    from dama.operations import archive as verbs
    from dama.operations import archive_files

    async def move() -> tuple[int, str]:
        async with session.app() as app:
            if folder is None:
                return await verbs.restore(app, context), ""
            made = await archive_files.restore(app, folder, context)
            there = [each for each in (*made.contexts, *made.known) if each.source_id == context]
            other = there[0].context_id if there and there[0].context_id != context else None
            return made.count, f" Context {context} is context {other} now." if other else ""

    count, said = asyncio.run(move())
    if as_json:
        print_json({"contexts": count})
    else:
        echo(f"{number_of(count, 'context is', 'contexts are')} back.{said}")


@archive.command(epilog=examples("dama archive move --older-than 365d --to /backup/dama"))
@older_than
@click.option("--to", "folder", type=FOLDER, metavar="FOLDER", required=True, help="Where to.")
@json_option()
@click.pass_obj
def move(session: Session, *, age: timedelta, folder: Path, as_json: bool) -> None:
    """Move trees from the archive into files of FOLDER.

    Those that were archived for longer than an age. Each is a bundle: see `dama export`. It leaves
    the database when its file is on the disk, and was read again.
    """
    from dama.operations import archive_files

    async def write() -> archive_files.Filed:
        async with session.app() as app:
            return await archive_files.add(app, folder, age)

    done = asyncio.run(write())
    if as_json:
        print_json(done)
    else:
        events = number_of(done.events, "event")
        is_in = "is" if done.trees == 1 else "are"
        trees = number_of(done.trees, "tree")
        echo(f"{trees} with {events} {is_in} in {folder}, {done.bytes:,} bytes.")


@archive.command(epilog=examples("dama archive ls /backup/dama --verify"))
@click.argument("folder", type=FOLDER)
@click.option("--verify", is_flag=True, help="Read each file whole, and verify its checksums.")
@json_option("Print a JSON document for each file.")
@click.pass_context
def ls(ctx: click.Context, folder: Path, *, verify: bool, as_json: bool) -> None:
    """List the trees in the files of FOLDER."""
    from dama.operations import archive_files

    found = list(archive_files.listed(folder, verify=verify))
    if as_json:
        for tree in found:
            print_json(tree)
    elif found:
        print_table(
            ["context", "task", "status", "created", "contexts", "events", "file"],
            [[t.context_id, t.task, t.status, t.created_at, t.contexts, t.events, t.path]
             for t in found if t.error is None],
        )  # fmt: skip
    else:
        echo(f"There are no files of archived trees in {folder}.")
    for tree in found:
        if tree.error:
            echo(tree.error, err=True)
    ctx.exit(1 if any(tree.error for tree in found) else 0)


@archive.command(epilog=examples("dama archive forget --older-than 730d --yes"))
@older_than
@click.option("--yes", is_flag=True, help="Do not ask for confirmation.")
@json_option()
@click.pass_obj
def forget(session: Session, *, age: timedelta, yes: bool, as_json: bool) -> None:
    """Remove for good what has been archived for longer than an age."""
    from dama.operations import archive as verbs

    if not yes:
        click.confirm("What is forgotten cannot be brought back. Continue?", abort=True)

    async def remove() -> Moved:
        async with session.app() as app:
            return await verbs.forget(app, age)

    done = asyncio.run(remove())
    if as_json:
        print_json(done)
    else:
        echo(_said(done, "removed"))


def _said(moved: Moved, what: str) -> str:
    is_what = "is" if moved.contexts == 1 else "are"
    contexts, events = number_of(moved.contexts, "context"), number_of(moved.events, "event")
    return f"{contexts} with {events} {is_what} {what}."
