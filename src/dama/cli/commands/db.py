"""`dama db`: the database itself. Everything that a command may do before the schema is there."""

from __future__ import annotations

import asyncio
import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from dama.cli.commands.adopt import adopt
from dama.cli.group import examples, json_option
from dama.cli.output import print_fields, print_json, print_table
from dama.cli.session import Session
from dama.cli.terminal import echo
from dama.counts import number_of
from dama.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from dama.embedded import EmbeddedPostgres
    from dama.store.grants import Access
    from dama.store.rows import Difference


@click.group(
    epilog=examples(
        "dama db status",
        "dama db migrate --print | less",
        "dama db psql",
        "dama db url",
    )
)
def db() -> None:
    """Start, stop, migrate and open the database.

    Unless another one is configured it is a PostgreSQL that belongs to you alone and that starts
    when it is needed.
    """


db.add_command(adopt)


@db.command(epilog=examples("dama db start"))
@click.pass_obj
def start(session: Session) -> None:
    """Start the embedded database; it stays until it is stopped."""
    echo(f"The database is running: {_embedded(session, 'start').start()}")


@db.command(epilog=examples("dama db stop"))
@click.pass_obj
def stop(session: Session) -> None:
    """Stop the embedded database."""
    stopped = _embedded(session, "stop").stop()
    echo("The database is stopped." if stopped else "The database was not running.")


@db.command(epilog=examples("dama db status", "dama db status --json"))
@json_option()
@click.pass_obj
def status(session: Session, *, as_json: bool) -> None:
    """Show which database it is, whether it runs, and its schema."""
    import msgspec

    from dama.config.config import EmbeddedDatabase

    config = session.config()
    database = config.database
    server: dict[str, Any] = {"source": getattr(database, "source", "embedded")}
    if config.environment:
        server = {"environment": config.environment, "protected": config.is_protected} | server
    runs = True
    if isinstance(database, EmbeddedDatabase):
        found = _embedded(session, "status").status()
        server |= msgspec.to_builtins(found)
        runs = found.running
    rows: Sequence[Any] = asyncio.run(_migrations(session)) if runs else ()
    if as_json:
        print_json({"server": server, "migrations": rows})
        return
    print_fields(list(server.items()))
    if runs:
        _print_migrations(rows)


@db.command(epilog=examples("dama db psql", "dama db psql -- -c 'TABLE pg_stat_activity'"))
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
@click.pass_obj
def psql(session: Session, arguments: Sequence[str]) -> None:
    """Open the database with psql; what follows -- goes to it."""
    from dama.store.conninfo import split_secrets

    program = _psql(session)
    address, secrets = split_secrets(session.url())
    # Arguments are seen by everybody on this machine, the environment is not.
    environ = {**os.environ}
    if password := secrets.pop("password", None):
        environ["PGPASSWORD"] = password
    if secrets:
        address = _by_service(address, secrets, environ)
    os.execve(program, [program, "-d", address, *arguments], environ)  # noqa: S606 - psql takes over


@db.command(epilog=examples("dama db url", "dama db url --json"))
@json_option()
@click.pass_obj
def url(session: Session, *, as_json: bool) -> None:
    """Print where the database is; the embedded one is started."""
    if as_json:
        print_json({"url": session.url()})
    else:
        echo(session.url())


@db.command(epilog=examples("dama db rebuild --dry-run", "dama db rebuild"))
@click.option("--dry-run", is_flag=True, help="Only say what differs; workers may run.")
@json_option()
@click.pass_obj
def rebuild(session: Session, *, dry_run: bool, as_json: bool) -> None:
    """Derive everything again that follows from the events. No worker may run meanwhile.

    The status, version and epoch of contexts, the run queue and the snapshots. Runs that waited
    are queued, and wait again. At most 100 differences are shown.
    """

    async def derive() -> tuple[Sequence[Difference], tuple[int, int] | None]:
        async with session.app() as app:
            differences = await app.store.differences()
            return differences, None if dry_run else await app.store.rebuild()

    differences, done = asyncio.run(derive())
    if as_json:
        counts = None if done is None else dict(zip(("contexts", "runs"), done, strict=True))
        print_json({"differences": differences, "rebuilt": counts})
        return
    if differences:
        rows = [[d.context_id, d.column, d.stored, d.derived] for d in differences]
        print_table(["context", "column", "stored", "derived"], rows)
        echo()
    if done is not None:
        said = number_of(
            done[0], "context was not what its events", "contexts were not what their events"
        )
        echo(f"{said} say, and {'is' if done[0] == 1 else 'are'} now.")
        echo(f"{number_of(done[1], 'run is', 'runs are')} in the queue.")
    elif not differences:
        echo("All contexts are what their events say.")


@db.command(
    epilog=examples(
        "dama db grants",
        "dama db grants --role etl --as worker",
        "dama db grants --role etl --as worker | dama db psql",
    )
)
@click.option("--role", metavar="NAME", help="A role that exists; else dama_reader and so on.")
@click.option(
    "--as", "access", type=click.Choice(["reader", "writer", "worker"]), help="What it may do."
)
@click.pass_obj
def grants(session: Session, *, role: str | None, access: Access | None) -> None:
    """Print the SQL that gives roles their rights.

    The owner of the schema executes it. A reader sees everything but tokens and secrets. A writer
    inserts contexts and events as programs do, and calls dispatch(). A worker has what `dama
    worker` and `dama gateway` need. Without options: for dama_reader, dama_writer and dama_worker,
    which are created when missing. It may be executed again at any time.
    """
    from dama.store.grants import default_grants
    from dama.store.grants import grants as grants_of

    if (role is None) != (access is None):
        raise UsageError(
            "--role and --as belong together.", "Write --role NAME --as reader|writer|worker."
        )
    if role is None or access is None:
        statements = asyncio.run(default_grants(session.url()))
    else:
        statements = asyncio.run(grants_of(session.url(), role, access))
    echo("\n".join(["BEGIN;", *statements, "COMMIT;"]))


@db.group(
    invoke_without_command=True,
    epilog=examples("dama db migrate", "dama db migrate --print", "dama db migrate status"),
)
@click.option("--print", "only_print", is_flag=True, help="Print the SQL; change nothing.")
@click.pass_context
def migrate(ctx: click.Context, *, only_print: bool) -> None:
    """Bring the schema of the database to this version.

    Workers and writers continue meanwhile. What it waits for is printed: a transaction that
    somebody left open can be ended with SELECT pg_terminate_backend(PID).
    """
    if ctx.invoked_subcommand:
        return
    from dama.store import schema

    session = ctx.ensure_object(Session)
    if only_print:
        echo(schema.script())
        return
    applied = asyncio.run(
        schema.migrate(session.url(), tell=lambda what: echo(f"dama: {what}", err=True))
    )
    for name in applied:
        echo(f"applied {name}")
    if not applied:
        echo("The schema is up to date.")


@migrate.command("status", epilog=examples("dama db migrate status --json"))
@json_option()
@click.pass_obj
def migrate_status(session: Session, *, as_json: bool) -> None:
    """List the migrations and when each was applied."""
    rows = asyncio.run(_migrations(session))
    if as_json:
        print_json(rows)
    else:
        _print_migrations(rows)


async def _migrations(session: Session) -> Sequence[Any]:
    from dama.store import schema

    return await schema.status(session.url())


def _print_migrations(rows: Sequence[Any]) -> None:
    echo()
    print_table(["migration", "applied"], [[row.name, row.applied_at or "no"] for row in rows])
    if any(row.applied_at is None for row in rows):
        echo("\nApply them with: dama db migrate")


def _embedded(session: Session, verb: str) -> EmbeddedPostgres:
    server = session.embedded()
    if server is None:
        source = getattr(session.config().database, "source", "elsewhere")
        raise UsageError(
            f"The database comes from {source}: it is not ours to {verb}.",
            "Only the embedded database is started and stopped by dama.",
        )
    return server


def _by_service(address: str, secrets: Mapping[str, str], environ: dict[str, str]) -> str:
    """Pass secrets that have no variable of their own by a service file that only psql can open."""
    if "service=" in address or any("\n" in value for value in secrets.values()):
        raise UsageError(
            f"{', '.join(secrets)} cannot be passed to psql without being seen by others.",
            "Write it into the service file of libpq.",
        )
    content = "".join(f"{name}={value}\n" for name, value in secrets.items())
    descriptor = os.memfd_create("service", 0)  # 0: psql inherits it
    os.write(descriptor, f"[dama]\n{content}".encode())
    environ["PGSERVICEFILE"] = f"/proc/self/fd/{descriptor}"
    return f"{address} service=dama"


def _psql(session: Session) -> str:
    """The psql of this machine, or that of the embedded PostgreSQL."""
    if found := shutil.which("psql"):
        return found
    from dama.embedded import EmbeddedPostgres

    program = Path(EmbeddedPostgres(session.config().home).binaries) / "psql"
    if not program.exists():
        raise UsageError("There is no psql on PATH.", "Install the PostgreSQL client.")
    return str(program)
