"""`dama check`: whether the code of a task fits the records of its runs, before it is deployed."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING

import click

from dama.cli.group import examples, json_option
from dama.cli.output import print_json
from dama.cli.terminal import echo, secho
from dama.counts import number_of

if TYPE_CHECKING:
    from dama.cli.session import Session
    from dama.definitions.registry import Registry
    from dama.operations.checks import CheckReport


@click.command(
    epilog=examples(
        "dama check flights.load",
        "dama check flights.load --module next/flights.py --sample 1000",
        "dama check flights.load --json | jq '.misfits[].context_id'",
    )
)
@click.argument("task", metavar="TASK")
@click.option(
    "--sample",
    type=click.IntRange(1),
    default=200,
    show_default=True,
    help="How many runs at most.",
)
@click.option(
    "--module", metavar="NAME|FILE", help="Take the task from this module, not from the project."
)
@click.option(
    "--seconds", type=click.FloatRange(0.1), default=30.0, show_default=True,
    help="Seconds that the code may take for one record.",
)  # fmt: skip
@json_option()
@click.pass_obj
def check(
    session: Session, task: str, *, sample: int, module: str | None, seconds: float, as_json: bool
) -> int:
    """Check the code of a task against what its runs have recorded.

    The function is called for each of them: those that are open or failed, then the latest. Every
    step, call, subtask and wait is answered from the record, nothing is written, and it ends where
    the record does. What the function does outside of steps is done. The exit code is 1 when a run
    does not fit.
    """

    async def held() -> CheckReport:
        from dama.operations import checks

        async with session.app(with_services=module is None) as app:
            if module is not None:
                app.registry = _registry_of(module)
            return await checks.check(app, task, sample=sample, seconds=seconds)

    report = asyncio.run(held())
    if as_json:
        print_json(report)
    else:
        _print(report)
    return 1 if report.misfits else 0


def _registry_of(module: str) -> Registry:
    """The services of one module, which is named or a file."""
    from dama.definitions.registry import Registry

    path = Path(module)
    registry = Registry()
    if path.suffix == ".py":
        registry.load_modules([path.stem], path.parent.resolve())
    else:
        registry.load_modules([module], Path.cwd())
    return registry


def _print(report: CheckReport) -> None:
    for misfit in report.misfits:
        secho(f"context {misfit.context_id} ({misfit.status}): {misfit.kind}", bold=True)
        echo(f"  recorded: {misfit.recorded}")
        echo(f"  found:    {misfit.found}")
    fit = report.checked - len(report.misfits)
    echo(
        f"{fit} of {number_of(report.checked, 'run')} of {report.task} fit the code; "
        f"{report.still_open} of them are not done and would continue with it."
    )
    if report.misfits:
        echo(
            "Let those that are open end on the old code, fork them before the difference, or "
            'accept it in the code: await task.changed("why").'
        )
