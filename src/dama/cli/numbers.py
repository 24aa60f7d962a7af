"""Numbers that are typed: those that no database has are refused before one is asked."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from click.types import IntParamType

if TYPE_CHECKING:
    import click

MOST = 2**63 - 1


class Number(IntParamType):
    """A whole number that a column of the database may have.

    Args:
        least: From which on.
    """

    def __init__(self, least: int) -> None:
        self._least = least

    def convert(  # pyright: ignore[reportImplicitOverride] - `override` is an import of 18 ms
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> int:
        """Read what was typed."""
        number: int = super().convert(value, param, ctx)
        if not self._least <= number <= MOST:
            self.fail(f"{number} is not between {self._least} and {MOST:,}.", param, ctx)
        return number


ID = Number(1)
"""Of a context, an event or a worker."""
AFTER = Number(0)
"""What was seen last: a context or a version; 0 for nothing yet."""
