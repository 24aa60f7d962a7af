"""What a test has given and its run never met: a misspelt name must not pass for a proof."""

from __future__ import annotations

import re
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from dama.definitions.registry import Registry
    from dama.run.rehearsal import Rehearsal
    from dama.testing.ran import Ran

MOST_NAMED = 12


def refuse_unmet(
    ran: Ran[Any], rehearsal: Rehearsal, signals: Sequence[tuple[str, Any]], registry: Registry
) -> None:
    """Let a test fail whose run never met what the test has given.

    A stub with `*` may stand for nothing; so may one of a known task or action, and one that is
    like others but for its number, as "fetch 3" beside "fetch 1". A number in `crash_after` may be
    beyond the last event.

    Raises:
        AssertionError: Something was not met.
    """
    death = next(iter(rehearsal.deaths), None)
    if isinstance(death, str):
        near = _near(death, rehearsal.written_names)
        raise AssertionError(  # noqa: TRY004 - a test has failed
            f"crash_after has {death!r}, and no such event was written.{near}{_end(ran)}"
        )
    for name in rehearsal.stubs:
        if name not in rehearsal.used and not _may_be_idle(name, rehearsal, registry):
            near = _near(name, [*rehearsal.asked, *registry.names])
            if ran.status == "DONE" or near.startswith(" Did you mean"):
                raise AssertionError(
                    f"The stub {name!r} stood in for nothing.{near}{_end(ran)} Leave it out, or "
                    "write a * into the name of a stub that may not be needed."
                )
    if signals and ran.status != "OPEN":
        raise AssertionError(
            f"The run ended before it waited for {', '.join(repr(type_) for type_, _ in signals)}."
            f"{_end(ran)}"
        )


def _may_be_idle(name: str, rehearsal: Rehearsal, registry: Registry) -> bool:
    actions = [f"{s.full_name}.{a}" for s in registry.services.values() for a in s.actions]
    family = _family(name)
    return (
        "*" in name
        or name in registry.names
        or name in actions
        or any(_family(asked) == family for asked in rehearsal.asked)
    )


def _family(name: str) -> str:
    return re.sub(r"\d+", "0", name)


def _near(name: str, names: Iterable[str]) -> str:
    known = list(dict.fromkeys(names))
    if near := get_close_matches(name, known, n=1):
        return f" Did you mean {near[0]!r}?"
    return f" There were {', '.join(known[:MOST_NAMED])}." if known else ""


def _end(ran: Ran[Any]) -> str:
    if ran.status == "OPEN":
        return f" The run waits for {', '.join(ran.waits) or 'time'}."
    message = (ran.error or {}).get("message")
    return f" The run ended {ran.status}{f': {message}' if message else ''}."
