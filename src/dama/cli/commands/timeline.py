"""`dama timeline`: when a context and what it started were queued, ran and waited."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import click

from dama.cli.group import examples, json_option
from dama.cli.numbers import AFTER, ID
from dama.cli.output import duration, local_time, print_json, print_more, print_table
from dama.cli.terminal import echo, secho

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from dama.cli.session import Session
    from dama.domain.timeline import Span
    from dama.operations.timelines import Lane, Timeline

KINDS = ("queued", "running", "waiting", "retrying")


@click.command(
    epilog=examples(
        "dama timeline 42",
        "dama timeline 42 --at 1234",
        "dama timeline 42 --json | jq '.steps[] | .name'",
    )
)
@click.argument("context_id", metavar="CONTEXT", type=ID)
@click.option("--at", type=ID, metavar="EVENT", help="As it was after this event.")
@click.option(
    "--after", type=AFTER, default=0, metavar="CONTEXT", help="Only later subtasks, to read on."
)
@click.option(
    "--limit", type=click.IntRange(1, 200), default=50, show_default=True,
    help="How many subtasks at most.",
)  # fmt: skip
@json_option()
@click.pass_obj
def timeline(
    session: Session, context_id: int, *, at: int | None, after: int, limit: int, as_json: bool
) -> None:
    """Show how long a context and its subtasks were queued, ran and waited, and each step.

    Only the latest 1,000 events of a long history are looked at. If more subtasks are left,
    it says on standard error how to continue.
    """
    from dama.operations import timelines

    async def read() -> Timeline:
        async with session.app() as app:
            return await timelines.timeline(app, context_id, at=at, after=after, limit=limit)

    found = asyncio.run(read())
    if as_json:
        print_json(found)
    else:
        _print(found)
    if found.next_after:
        print_more(f"--after {found.next_after}")


def _print(found: Timeline) -> None:
    begin = found.own.begin
    echo(f"begins {local_time(begin)}")
    print_table(
        ["context", "status", "begins", *KINDS, "task"],
        [_lane(lane, begin, found.now) for lane in (found.own, *found.children)],
    )
    if found.steps:
        secho("\nsteps", bold=True)
        print_table(
            ["step", "outcome", "begins", "took"],
            [[s.name, s.kind, _offset(s.begin, begin), _length(s, found.now)] for s in found.steps],
        )
    if found.attempts:
        secho("\nattempts", bold=True)
        print_table(
            ["attempt", "epoch", "worker", "dama", "begins", "outcome", "cpu", "memory"],
            [
                [
                    each.number,
                    each.epoch,
                    each.worker,
                    each.dama,
                    _offset(each.begin, begin),
                    each.outcome or "runs",
                    *_usage(each.usage),
                ]
                for each in found.attempts
            ],
        )


def _lane(lane: Lane, begin: datetime, now: datetime) -> Sequence[object]:
    known = "" if lane.is_whole else "+"
    sums = [
        sum(((s.end or now) - s.begin).total_seconds() for s in lane.spans if s.kind == kind)
        for kind in KINDS
    ]
    return [
        lane.context.context_id,
        lane.context.status,
        _offset(lane.begin, begin),
        *(f"{duration(each)}{known}" if each else "-" for each in sums),
        lane.context.task or "-",
    ]


def _offset(moment: datetime, begin: datetime) -> str:
    return f"+{duration(moment - begin)}"


def _length(span: Span, now: datetime) -> str:
    return duration((span.end or now) - span.begin)


def _usage(usage: object) -> tuple[str, str]:
    """Seconds of the processor and the most of memory, as far as the program's end says them."""
    from dama.shapes import as_object

    used = as_object(usage)
    seconds = [n for n in (used.get("user"), used.get("system")) if isinstance(n, int | float)]
    most = used.get("max_rss")
    memory = f"{most / 2**20:.0f} MiB" if isinstance(most, int | float) else "-"
    return duration(sum(seconds)) if seconds else "-", memory
