"""`--where`: contexts that are like this, in one option."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from collections.abc import Callable

    from dama.cli.group import F

KEYS = ("task", "status", "service", "user", "schedule")


def where_option(text: str) -> Callable[[F], F]:
    """`--where`, as a dict of what a ContextFilter takes.

    Args:
        text: What is done with them; which keys there are is said after it.
    """
    return click.option(
        "--where",
        metavar="KEY=VALUE,...",
        callback=_fits,
        help=f"{text} ({', '.join(KEYS)}).",
    )


def _fits(ctx: click.Context, param: click.Parameter, text: str | None) -> dict[str, Any] | None:
    """`task=flights.load,status=ERROR`."""
    if text is None:
        return None
    parts = [part.partition("=") for part in text.split(",")]
    for name, equals, value in parts:
        if name not in KEYS or not equals or not value:
            raise click.BadParameter(
                f"{name}{equals}{value} is not one of {', '.join(f'{k}=…' for k in KEYS)}, "
                "with commas between them.",
                ctx,
                param,
            )
    return {name: value for name, _, value in parts}
