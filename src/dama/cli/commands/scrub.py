"""`dama scrub`: strike out a secret that got in, wherever it is stored."""

from __future__ import annotations

import asyncio
import getpass
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from dama.cli.group import examples, json_option
from dama.cli.output import print_json
from dama.cli.terminal import echo
from dama.errors import UsageError

if TYPE_CHECKING:
    from dama.cli.session import Session
    from dama.domain.secrets import Secrets
    from dama.upkeep.scrubbing import Scrubbed, Where


@click.command(
    epilog=examples(
        "dama scrub --all --dry-run < secret.txt",
        "dama scrub 42 --env API_KEY --reason 'printed by a debug build'",
        "dama scrub 42 --tree --file old-password.txt",
    )
)
@click.argument("context", type=int, required=False)
@click.option("--tree", is_flag=True, help="The whole tree that the context is in.")
@click.option("--all", "everywhere", is_flag=True, help="The whole store.")
@click.option("--env", metavar="NAME", help="The variable that holds the secret.")
@click.option("--file", type=click.Path(path_type=Path), help="The file that holds it.")
@click.option("--reason", default="", help="Why; kept with the act.")
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
    act is kept in a context of its own. Only the owner of the tables may. Workers may live; run it
    on each host, and once more when all that had the secret has ended. Backups are not changed.
    """
    from dama.upkeep.scrubbing import Where

    if (context is None) != everywhere or (tree and everywhere):
        raise UsageError("What is to be searched?", "Give a CONTEXT, with --tree or not, or --all.")
    secrets = _secrets(env, file)
    done = asyncio.run(_scrub(session, secrets, Where(context, tree, reason), dry_run=dry_run))
    if as_json:
        print_json(done)
    else:
        _print(done, dry_run=dry_run)


async def _scrub(session: Session, secrets: Secrets, where: Where, *, dry_run: bool) -> Scrubbed:
    from dama.upkeep.scrubbing import scrub as scrub_all

    async with session.app() as app:
        by = getpass.getuser()
        return await scrub_all(app.store, app.home, secrets, where, by=by, dry_run=dry_run)


def _secrets(env: str | None, file: Path | None) -> Secrets:
    from dama.domain.secrets import SHORTEST, Secrets

    value = _value(env, file).removesuffix("\n").removesuffix("\r")
    if len(value) < SHORTEST:
        raise UsageError(
            f"The secret has {len(value)} characters; at least {SHORTEST} are expected.",
            "A shorter one is part of many texts, which could not be read any more.",
        )
    return Secrets([value])


def _value(env: str | None, file: Path | None) -> str:
    if env is not None and file is not None:
        raise UsageError("--env and --file both name the secret.", "Give one of them.")
    if env is not None:
        if env not in os.environ:
            raise UsageError(f"There is no variable {env} in the environment.", "Export it first.")
        return os.environ[env]
    if file is not None:
        try:
            return file.read_text(encoding="utf-8")
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
