"""`dama show`: one context, from its row and its life-cycle state."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click

from dama.cli.commands.ls import run_word
from dama.cli.commands.queue import print_reasons
from dama.cli.follow import error_text
from dama.cli.group import examples, json_option
from dama.cli.numbers import ID
from dama.cli.output import (
    duration,
    json_text,
    print_fields,
    print_json,
    print_next,
    print_table,
)
from dama.cli.terminal import echo, secho

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from dama.cli.session import Session
    from dama.operations.contexts import ContextReport
    from dama.operations.trends import CheckTrend
    from dama.store import ContextRow
    from dama.store.windows import Place


@click.command(epilog=examples("dama show 42", "dama show 42 --json | jq .lifecycle.result"))
@click.argument("context_id", metavar="CONTEXT", type=ID)
@json_option()
@click.pass_obj
def show(session: Session, context_id: int, *, as_json: bool) -> None:
    """Show one context: status, params, steps, result or error."""
    from dama.domain.exact import document
    from dama.operations import contexts

    async def read() -> ContextReport:
        async with session.app() as app:
            return await contexts.read(app, context_id)

    report = asyncio.run(read())
    if as_json:
        print_json(report)
        return
    lifecycle: dict[str, Any] = document(report.lifecycle)
    _print_context(report)
    if report.why:
        secho("\nwhy it is not running", bold=True)
        print_reasons(report.why)
    _print_lifecycle(lifecycle)
    _print_checks(report.checks)
    _print_next(report)


def _print_context(context: ContextReport) -> None:
    run, origin, elsewhere = context.run, context.forked_from, context.imported_from
    place = context.place
    usual = context.usual_seconds
    print_fields(
        [
            ("context", context.context_id),
            ("task", context.task),
            ("status", context.status),
            ("run", run_word(context)),
            ("worker", run.worker if run else None),
            ("epoch", place.epoch if place and place.host else None),
            ("lease", _lease(place)),
            ("due", run.due_at if run else None),
            ("parent", context.parent_id),
            ("forked from", origin and f"{origin.context_id} after event {origin.event_id}"),
            (
                "imported from",
                elsewhere and f"{elsewhere.context_id} of database {elsewhere.database}",
            ),
            ("forks", ", ".join(map(str, context.forks)) or None),
            ("events", context.version),
            ("created", context.created_at),
            ("changed", context.modified_at),
            ("time", duration(context.took(datetime.now(UTC)))),
            ("usually", usual and f"{duration(usual)}, half of the latest runs of the task"),
        ]
    )


def _lease(place: Place | None) -> str | None:
    """How long the worker still holds the run without a sign of life."""
    if place is None or place.lease_seconds is None:
        return None
    left = place.lease_seconds
    return f"{duration(left)} left" if left >= 0 else f"lapsed {duration(-left)} ago"


def _print_lifecycle(lifecycle: Mapping[str, Any]) -> None:
    for name in ("params", "attempts", "steps", "subtasks", "progress", "result"):
        if lifecycle.get(name):
            secho(f"\n{name}", bold=True)
            echo(json_text(lifecycle[name]))
    if error := lifecycle.get("error"):
        secho("\nerror", bold=True)
        secho(error_text(error), fg="red")
        if stack := error.get("stack"):
            echo(stack)


def _print_checks(checks: Sequence[CheckTrend]) -> None:
    if not checks:
        return
    secho("\nchecks", bold=True)
    rows = [
        [each.name, each.count, ", ".join(str(old.count) for old in each.earlier) or "-"]
        for each in checks
    ]
    print_table(["check", "found", "in earlier runs, the latest first"], rows)


def _print_next(context: ContextRow) -> None:
    number = context.context_id
    commands = [
        (f"dama events {number}", "all that happened"),
        (f"dama tree {number}", "its subtasks"),
    ]
    if context.task and context.status != "DONE":
        commands.append((f"dama resume {number}", "continue after its last step"))
    print_next(*commands)
