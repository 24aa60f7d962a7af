"""`dama import`: declarations for what a project has already."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from dama.cli.group import examples
from dama.cli.terminal import echo
from dama.errors import UsageError

if TYPE_CHECKING:
    from dama.cli.session import Session
    from dama.drafts.draft import Drafts

_STANDARD_INPUT = "-"


class FileExistsAlreadyError(UsageError):
    """A file that should be written is there."""

    code = "FILE_EXISTS"


@click.command(
    "import",
    epilog=examples(
        "dama import etl/                      a folder of scripts",
        "dama import etl/load.sh               one of them",
        "dama import Makefile --service build  its targets",
        "dama import package.json >> dama.toml",
        "crontab -l | dama import -            with the schedules",
    ),
)
@click.argument("source", metavar="FOLDER|FILE|-")
@click.option("--write", metavar="FILE", help="Write them into a new file.")
@click.option("--service", metavar="NAME", help="Instead of the name of the folder.")
@click.pass_obj
def import_(session: Session, source: str, write: str | None, service: str | None) -> None:
    """Draft declarations for existing programs, for review.

    Reads a script or a folder of them (.sh .py .js .mjs .R .sql .psql, and executables with a
    shebang), the targets of a Makefile, the scripts of a package.json or the lines of a crontab,
    and writes the part of dama.toml that declares them. Nothing is run. What they seem to take is
    suggested in comments.
    """
    from dama.definitions.service import check_name_with_tasks
    from dama.drafts.draft import write_toml

    if service is not None:
        check_name_with_tasks(service)
    target = Path(write).absolute() if write else None
    base = target.parent if target else session.config().project
    text = write_toml(_drafts(source, base, service))
    if target is None:
        echo(text, nl=False)
        return
    try:
        with target.open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        raise FileExistsAlreadyError(
            f"{write} is there already.",
            f"Append to it with `dama import {source} >> {write}`, or name another file.",
        ) from None
    except OSError as error:
        raise UsageError(f"{write} cannot be written: {error}.") from error
    echo(f"{write} is written. Review it; `dama services` reads what dama.toml has.")


def _drafts(source: str, base: Path, service: str | None) -> Drafts:
    from dama.drafts.crontab import draft_crontab
    from dama.drafts.source import draft_source, read_text

    if source == _STANDARD_INPUT:
        text = read_text(sys.stdin.buffer.read())
        return draft_crontab("standard input", text, service or "cron")
    return draft_source(Path(source), base, service)
