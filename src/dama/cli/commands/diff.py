"""`dama diff`: what is different between two moments, two attempts, or two contexts."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import click

from dama.cli.group import examples, json_option, override
from dama.cli.numbers import ID
from dama.cli.output import duration, json_text, print_json, print_table, shortened
from dama.cli.terminal import echo, echo_line, secho
from dama.counts import number_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from dama.cli.session import Session
    from dama.operations.diffs import Diff, Side

WIDTH = 200
PLACES = 8
PER_SIDE = ("--at", "--attempt")
PARTS = {
    "steps": "step",
    "functions": "function of",
    "failed": "failure of",
    "subtasks": "subtasks of",
}


class _TwoSides(click.Command):
    """A command with options that take a number for each side: `--at 1201 1234`."""

    @override
    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Repeat the option before the second number."""
        return super().parse_args(ctx, _repeated(args))


def _repeated(args: Sequence[str]) -> list[str]:
    """Arguments in which `--at 1 2` is `--at 1 --at 2`, where the context stands before it."""
    found: list[str] = []
    is_named = False
    left = [*args]
    while left:
        word = left.pop(0)
        found.append(word)
        option, has_value, _ = word.partition("=")
        if option in PER_SIDE:
            found += [] if has_value else left[:1]
            left = left if has_value else left[1:]
            if is_named and left and left[0].isdecimal():
                found += [option, left.pop(0)]
        is_named = is_named or word.isdecimal()
    return found


@click.command(
    cls=_TwoSides,
    epilog=examples(
        "dama diff 42 43                      yesterday's run and today's",
        "dama diff 42 --at 1201 1234          two moments of one context",
        "dama diff 42 --at 1201               that moment and now",
        "dama diff 42 --attempt 1 2           two attempts",
        "dama diff 42 43 --at 1201 1302       both, each as it was then",
        "dama diff 42 43 --slice rows_loaded --json",
    ),
)
@click.argument("context_id", metavar="CONTEXT", type=ID)
@click.argument("other", metavar="[OTHER]", type=ID, required=False)
@click.option("--at", "at", type=ID, multiple=True, metavar="EVENT [EVENT]",
              help="As it was after this event; two for both sides.")  # fmt: skip
@click.option("--attempt", "attempts", type=click.IntRange(1), multiple=True,
              metavar="NUMBER [NUMBER]",
              help="Only what this attempt did; two for both sides.")  # fmt: skip
@click.option("--slice", "names", metavar="NAME", multiple=True,
              help="Compare these slices; by default all of your modules.")  # fmt: skip
@json_option()
@click.pass_obj
def diff(session: Session, context_id: int, other: int | None, *, at: tuple[int, ...],
         attempts: tuple[int, ...], names: tuple[str, ...], as_json: bool) -> int:  # fmt: skip
    """Show what is different: params, steps and their results, answers, states, times.

    The exit code is 0 when nothing is, and 1 when something is or a slice cannot be compared;
    times do not count.
    """
    first, second = _sides(context_id, other, at, attempts)

    async def compare() -> Diff:
        from dama.operations import diffs

        async with session.app(with_services=True) as app:
            return await diffs.diff(app, first, second, names=names or None)

    found = asyncio.run(compare())
    if as_json:
        print_json(found)
    else:
        _print(found)
    return 1 if found.changes or found.states or found.unfoldable else 0


def _sides(
    context_id: int, other: int | None, at: Sequence[int], attempts: Sequence[int]
) -> tuple[Side, Side]:
    from dama.operations.diffs import Side

    if max(len(at), len(attempts)) > 2:  # noqa: PLR2004 - two sides
        raise click.UsageError("There are two sides: --at and --attempt take two numbers each.")
    if other is None and not at and not attempts:
        raise click.UsageError("Give another context, --at or --attempt: what to compare it with.")
    moments = (*at, None, None)
    tries = (*attempts, None, None)
    if attempts and len(attempts) == 1 and other is None:
        raise click.UsageError("Give --attempt two numbers: what is compared with that attempt?")
    return (
        Side(context_id, moments[0], tries[0]),
        Side(context_id if other is None else other, moments[1], tries[1]),
    )


def _print(found: Diff) -> None:
    echo(f"{_name(found.first)}  →  {_name(found.second)}")
    if not found.changes and not found.states:
        echo("Nothing else is different." if found.unfoldable else "Nothing is different.")
    for why in found.unfoldable.values():
        echo_line(f"Not compared: {why}")
    for change in found.changes:
        _print_change(_place(change["path"]), change)
    for name, changes in found.states.items():
        secho(f"\nslice {name}", bold=True)
        for change in changes:
            _print_change(change["path"].lstrip("/").replace("/", ".") or "the whole", change)
    if not found.is_whole:
        echo("There are more: --json has 1,000 of each part.", err=True)
    secho("\ntime", bold=True)
    rows = [[t.step or "all of it", _seconds(t.first), _seconds(t.second)] for t in found.timings]
    print_table(["step", _name(found.first), _name(found.second)], rows[: PLACES + 1])
    if len(rows) > PLACES + 1:
        echo(f"... and {number_of(len(rows) - PLACES - 1, 'more step')}; --json has them.")


def _name(side: Side) -> str:
    at = "" if side.at is None else f" after event {side.at}"
    attempt = "" if side.attempt is None else f", attempt {side.attempt}"
    return f"context {side.context_id}{at}{attempt}"


def _place(pointer: str) -> str:
    """`step clean` for `/steps/clean`: keys of steps may have slashes and dots."""
    part, _, rest = pointer.lstrip("/").partition("/")
    rest = rest.replace("~1", "/").replace("~0", "~")
    return f"{PARTS.get(part, part)} {rest}".strip()


def _print_change(place: str, change: Mapping[str, Any]) -> None:
    echo(place)
    if "before" in change:
        secho(f"  - {_short(change['before'])}", fg="red")
    if "after" in change:
        secho(f"  + {_short(change['after'])}", fg="green")


def _short(value: object) -> str:
    return shortened(json_text(value, indent=0), WIDTH)


def _seconds(value: float | None) -> str:
    return "-" if value is None else duration(value)
