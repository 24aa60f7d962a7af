"""The report of a run in a process of its own: its outcome as a document, and back."""

from __future__ import annotations

from dataclasses import asdict
from datetime import datetime
from typing import TYPE_CHECKING, Any

from dama.domain.event import error_payload
from dama.domain.outcome import Done, Failed, Interrupted, Lost, Outcome, Retry, Waiting
from dama.run.errors import ReportedError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from dama.shapes import Json


def report_of(outcome: Outcome, failed_with: Sequence[str] = ()) -> dict[str, Any]:
    """The document of an outcome; JSON, but for a time.

    Args:
        outcome: Of the attempt.
        failed_with: The keys of the steps that its error came from.
    """
    match outcome:
        case Done(result):
            return {"outcome": "done", "result": result}
        case Failed(error):
            return {"outcome": "failed", **_failure(error, failed_with)}
        case Retry(error, delay):
            return {"outcome": "retry", **_failure(error, failed_with), "delay": delay}
        case Waiting():
            return {"outcome": "waiting", **asdict(outcome)}
        case Interrupted() | Lost():  # the worker looks again
            return {"outcome": "lost"}


def outcome_in(document: Mapping[str, Json]) -> Outcome:
    """The outcome that a report has."""
    match document["outcome"]:
        case "done":
            return Done(document["result"])
        case "failed":
            return Failed(_reported_error(document))
        case "retry":
            return Retry(_reported_error(document), document["delay"])
        case "waiting":
            until: str | None = document["until"]
            return Waiting(
                awaited=document["awaited"],
                on_failure=document["on_failure"],
                until=None if until is None else datetime.fromisoformat(until),
                types=document["types"],
                seen=document["seen"],
                any_end=document.get("any_end", False),
            )
        case _:
            return Lost()


def _failure(error: BaseException, failed_with: Sequence[str]) -> dict[str, Any]:
    return {"error": error_payload(error), "failed_with": list(failed_with)}


def _reported_error(document: Mapping[str, Json]) -> ReportedError:
    return ReportedError(document["error"], document.get("failed_with", ()))
