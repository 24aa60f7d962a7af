"""`dama doctor`: is everything well, and what to do where it is not."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import click

from dama.cli.group import examples, json_option
from dama.cli.output import print_json
from dama.cli.terminal import echo_line, style

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dama.cli.session import Session
    from dama.upkeep.doctor import Finding

SLOW_SECONDS = 2.0
COLOURS = {"ok": "green", "warn": "yellow", "fail": "red"}


@click.command(epilog=examples("dama doctor", "dama doctor --json"))
@json_option()
@click.pass_obj
def doctor(session: Session, *, as_json: bool) -> int:
    """Look at the database, the queue, the workers and the log.

    The exit code is 1 when something fails; a warning does not count. It is 3 when the
    database does not answer.
    """
    from dama.operations import health
    from dama.store.errors import SchemaError
    from dama.upkeep.doctor import Finding

    async def look() -> Sequence[Finding]:
        try:
            async with session.app() as app:
                return await health.examine(app)
        except SchemaError as error:  # nothing else can be asked of such a database
            return [Finding("schema", "fail", str(error), error.hint or "")]

    findings = [*asyncio.run(look()), *_modules(session)]
    if as_json:
        print_json(findings)
    else:
        _print(findings)
    return 1 if any(finding.level == "fail" for finding in findings) else 0


def _modules(session: Session) -> list[Finding]:
    """The modules of the project: whether each can be imported, and how long that takes."""
    from dama.errors import DamaError
    from dama.upkeep.doctor import Finding

    try:
        registry = session.registry()
    except DamaError as error:
        return [Finding("modules", "fail", str(error), error.hint or "")]
    found = [
        Finding(
            "modules", "fail", str(each.error), f"Tasks that are left out: {', '.join(each.tasks)}."
        )
        for each in registry.broken.values()
    ]
    found += [
        Finding(
            "imports",
            "warn",
            f"The import of {name} takes {seconds:.1f} s, in each command that runs tasks.",
            "Import what is slow within the functions that need it.",
        )
        for name, seconds in registry.seconds.items()
        if seconds > SLOW_SECONDS
    ]
    return found


def _print(findings: Sequence[Finding]) -> None:
    width = max(len(finding.name) for finding in findings)
    for finding in findings:
        level = style(f"{finding.level:4}", fg=COLOURS[finding.level])
        echo_line(f"{level}  {finding.name:{width}}  {finding.found}")
        if finding.advice:
            echo_line(f"{'':{width + 8}}{finding.advice}")
