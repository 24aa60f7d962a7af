"""Poison: runs that take their worker down with them.

The queue counts how many workers died in a row while they held a run that got no further. A worker
that held nothing else is proof. Otherwise any of its runs may have been to blame, so a suspect gets
a process of its own for its next attempt: there it can harm nobody, and how it ends is known.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dama.counts import number_of
from dama.errors import DamaError

if TYPE_CHECKING:
    from dama.definitions.task import TaskDefinition
    from dama.store import Claim


class PoisonError(DamaError):
    """A run killed its workers, and is set aside."""

    code = "POISON"
    exit_code = 1

    def __init__(self, claim: Claim, how: str = "") -> None:
        end = f", and then the process that it was given of its own: {how}" if how else ""
        super().__init__(
            f"{number_of(claim.deaths, 'worker')} died in a row while executing {claim.task}{end}. "
            "It is set aside.",
            f"os._exit, a crash in C code or too little memory does that. Mend it, then "
            f"`dama resume {claim.context_id}` gives it another chance.",
        )


def is_poison(claim: Claim, task: TaskDefinition[Any]) -> bool:
    """Whether a run has killed as many workers as its task may, beyond doubt."""
    return claim.deaths_alone >= task.options.crashes


def is_suspect(claim: Claim, task: TaskDefinition[Any]) -> bool:
    """Whether a run was there when as many workers died, each time with others."""
    return claim.deaths >= task.options.crashes and not is_poison(claim, task)
