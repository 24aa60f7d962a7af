"""Several calls at once, in order or by name."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

Calls = Sequence[tuple[str, Any]] | Mapping[str, tuple[str, Any]]


async def call_all(
    call: Callable[..., Awaitable[Any]],
    calls: Calls,
    options: Mapping[str, Any],
    *,
    settled: bool,
) -> list[Any] | dict[str, Any]:
    """Make calls side by side.

    Args:
        call: Makes one of them.
        calls: Actions and params, in order or by name.
        options: For each of them.
        settled: Give an error in the place of a result; otherwise the first error is raised and
            the other calls are cancelled.

    Returns:
        The results, in the same order or by the same names.
    """
    wanted = list(calls.values()) if isinstance(calls, Mapping) else list(calls)
    tasks = [asyncio.ensure_future(call(action, params, **options)) for action, params in wanted]
    try:
        results = await asyncio.gather(*tasks, return_exceptions=settled)
    except BaseException:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        raise
    return dict(zip(calls, results, strict=True)) if isinstance(calls, Mapping) else results
