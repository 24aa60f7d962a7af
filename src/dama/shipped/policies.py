"""Policies of calls as `[broker]` has them: true, false, or a table of what is other than usual."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeVar, get_args

from dama.broker.options import Strategy
from dama.definitions.policies import BreakerPolicy, BulkheadPolicy, RetryPolicy

if TYPE_CHECKING:
    from dama.config.table import Table

KEYS = ("retries", "breaker", "bulkhead", "strategy", "prefer_local", "metadata")
_LEAST = {"retries": 0, "threshold": 0, "concurrency": 1, "max_queue": 0, "min_requests": 1}
P = TypeVar("P")


def read_policies(table: Table) -> dict[str, Any]:
    """The options of a broker that say how calls are made.

    Raises:
        InvalidDefinitionError: A key is unknown, or its value makes no sense; it is named.
    """
    strategy = table.text("strategy", "round_robin")
    if strategy not in get_args(Strategy):
        table.wrong("strategy", f"one of {', '.join(get_args(Strategy))}")
    retries = table.values.get("retries")
    is_number = isinstance(retries, int) and not isinstance(retries, bool)
    return {
        "retries": RetryPolicy(retries=table.number("retries", 0) or 0)
        if is_number
        else _policy(table, "retries", RetryPolicy),
        "breaker": _policy(table, "breaker", BreakerPolicy),
        "bulkhead": _policy(table, "bulkhead", BulkheadPolicy),
        "strategy": strategy,
        "prefer_local": table.flag("prefer_local", default=True),
        "metadata": dict(table.entries("metadata", "a table")),
    }


def _policy(table: Table, key: str, kind: type[P]) -> P | None:
    value = table.values.get(key)
    if value is None or isinstance(value, bool):
        return kind() if value else None
    if not isinstance(value, Mapping):
        table.wrong(key, "true, false or a table")
    usual = vars(kind())
    names = [name for name, default in usual.items() if isinstance(default, int | float)]
    below = table.below(key, names)
    return kind(**{name: _number(below, name, usual[name]) for name in names if below.has(name)})


def _number(table: Table, name: str, usual: float) -> float:
    least = _LEAST.get(name, 0)
    if isinstance(usual, int):
        return table.number(name, least) or 0
    value: float = table.value(name, (int, float), "a number", usual)
    return value if value >= least else table.wrong(name, f"a number from {least}")
