"""Checks of data: what is wrong is counted, and some of it is shown."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING, Any, Literal

from dama.errors import DamaError, UsageError
from dama.store.copying import plain, without_numpy
from dama.store.querying import found_by

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from dama.store.transaction import Connection

Severity = Literal["fail", "warn"]
SHOWN = 5


class CheckFailedError(DamaError):
    """A check found something wrong.

    Attributes:
        data: `count`, and `sample`: the first of what is wrong, five at most.
    """

    code = "CHECK_FAILED"
    exit_code = 1

    def __init__(self, name: str, count: int, sample: list[Any]) -> None:
        self.data = {"count": count, "sample": sample}
        first = f", such as {sample[0]!r:.200}" if sample else ""
        super().__init__(f"{name}: {count:,} found{first}.")


@dataclass(frozen=True)
class Checked:
    """What a check has found.

    Attributes:
        count: How much is wrong; 0 is what is wanted.
        sample: The first of it, five at most.
    """

    count: int
    sample: list[Any] = field(default_factory=list[Any])


def check_rows(
    connection: Connection,
    name: str,
    expectation: str | Callable[[], Any],
    params: Mapping[str, Any] | None = None,
    *,
    severity: Severity = "fail",
) -> Checked:
    """Check data, within the transaction that a step has.

    Args:
        connection: Of the step.
        name: Of the check.
        expectation: A query that finds what is wrong, or a function that returns it: a collection,
            a number, or whether all is well. Of pandera's errors the failure cases count.
        params: Of the query, which has them as `%(name)s`.
        severity: "fail" to raise when something is wrong, "warn" to return it only.

    Raises:
        CheckFailedError: Something is wrong, and the severity is "fail".
        UsageError: The expectation is neither.
    """
    if severity not in {"fail", "warn"}:
        raise UsageError(f"severity is {severity!r}: expected 'fail' or 'warn'.")
    if isinstance(expectation, str):
        found = Checked(*found_by(connection, expectation, params, SHOWN))
    elif callable(expectation):
        found = _called(expectation)
    else:
        raise UsageError(f"{name}: {expectation!r:.80} is neither a query nor a function.")
    if found.count and severity == "fail":
        raise CheckFailedError(name, found.count, found.sample)
    return found


def _called(expectation: Callable[[], Any]) -> Checked:
    try:
        found = without_numpy(expectation())
    except Exception as error:
        cases = getattr(error, "failure_cases", None)
        if cases is None:
            raise
        return _of_frame(cases)
    if found is None or isinstance(found, bool):
        return Checked(int(found is False))
    if isinstance(found, int):
        return Checked(found)
    if getattr(getattr(found, "pandera", None), "schema", None) is not None:
        return Checked(0)  # pandera returns the frame that it has found to be well
    if hasattr(found, "to_dict") or hasattr(found, "to_dicts"):
        raise UsageError(
            "The check returned a frame, which may be what is wrong, or what was found to be well.",
            "Return what is wrong as a list of rows, or their number; nothing where all is well.",
        )
    if isinstance(found, str | bytes) or not hasattr(found, "__len__"):
        raise UsageError(f"The check returned {found!r:.80}: expected a collection or a number.")
    return Checked(len(found), [plain(each) for each in islice(found, SHOWN)])


def _of_frame(frame: Any) -> Checked:
    """A frame of pandas or Polars: a row for each thing that is wrong."""
    first = frame.head(SHOWN)
    rows = first.to_dicts() if hasattr(first, "to_dicts") else first.to_dict("records")
    return Checked(len(frame), [plain(row) for row in rows])
