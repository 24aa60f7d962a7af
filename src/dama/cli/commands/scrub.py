"""`dama scrub`: strike out a secret that got in, wherever it is stored."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from dama.cli.group import examples, json_option
from dama.cli.numbers import ID
from dama.cli.output import print_json
from dama.cli.terminal import echo
from dama.errors import UsageError

if TYPE_CHECKING:
    from dama.cli.session import Session
    from dama.upkeep.scrubbing import Scrubbed


@click.command(
    epilog=examples(
        "dama scrub --all --dry-run < secret.txt",
        "dama scrub 42 --env API_KEY --reason 'printed by a debug build'",
        "dama scrub 42 --tree --file old-password.txt",
    )
)
@click.argument("context", type=ID, required=False)
@click.option("--tree", is_flag=True, help="The whole tree that the context is in.")
@click.option("--all", "everywhere", is_flag=True, help="The whole store.")
@click.option("--env", metavar="NAME", help="The variable that holds the secret.")
@click.option("--file", type=click.Path(path_type=Path), help="The file that holds it.")
@click.option("--reason", default="", help="The reason; it is kept with the act.")
@click.option("--dry-run", is_flag=True, help="Only say where it is.")
@json_option()
@click.pass_obj
def scrub(
    session: Session,
    context: int | None,
    *,
    tree: bool,
    everywhere: bool,
    env: str | None,
    file: Path | None,
    reason: str,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Strike a secret out of all that is stored: events, results, states, archives, logs.

    The secret is read from standard input, --env or --file, never from the command line, which
    others can see. It is replaced by ***, in all the ways in which programs write a value, and the
    act is kept in a context of its own. Only the owner of the tables may. Workers may keep
    running; run it on each host, and once more when everything that had the secret has ended.
    Backups are not changed.
    """
    from dama.operations import scrubbing
    from dama.operations.who import person
    from dama.upkeep.scrubbing import Where

    async def strike(secret: str, where: Where) -> Scrubbed:
        async with session.app() as app:
            return await scrubbing.scrub(app, secret, where, person(), dry_run=dry_run)

    scrubbing.check_where(context, tree=tree, everywhere=everywhere)
    done = asyncio.run(strike(_value(env, file), Where(context, tree, reason)))
    if as_json:
        print_json(done)
    else:
        _print(done, dry_run=dry_run)


def _value(env: str | None, file: Path | None) -> str:
    from dama.operations.scrubbing import secret_named

    if env is not None and file is not None:
        raise UsageError("--env and --file both name the secret.", "Give one of them.")
    if env is not None:
        return secret_named(env, os.environ)
    if file is not None:
        try:
            return file.read_text(encoding="utf-8-sig")
        except (OSError, UnicodeDecodeError) as error:
            why = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
            raise UsageError(f"{file} cannot be read: {why}.", "Name another file.") from error
    if sys.stdin.isatty():
        return click.prompt("Secret", hide_input=True, err=True)
    return sys.stdin.read()


def _print(done: Scrubbed, *, dry_run: bool) -> None:
    verb = "Would strike" if dry_run else "Struck"
    rows = ", ".join(f"{table} {count}" for table, count in done.rows.items())
    echo(f"{verb} it out of rows: {sum(done.rows.values())}{f' ({rows})' if rows else ''}.")
    echo(f"{verb} it out of files of this host: {done.files}.")
    if done.kept:
        kept = ", ".join(f"{table} {count}" for table, count in done.kept.items())
        echo(f"Left in names and other words that act: {kept}. Rename what has them.")
    if done.context_id is not None:
        echo(f"Context {done.context_id} says who did it, when and why.")
