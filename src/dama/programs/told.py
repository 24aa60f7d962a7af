"""What a run in a process of its own tells its worker: an outcome as a document, and back."""

from __future__ import annotations

from dataclasses import asdict
from datetime import datetime
from typing import TYPE_CHECKING, Any, cast

from dama.domain.event import error_payload
from dama.domain.outcome import Done, Failed, Interrupted, Lost, Outcome, Retry, Waiting
from dama.run.errors import ToldError

if TYPE_CHECKING:
    from collections.abc import Mapping


def told(outcome: Outcome) -> dict[str, Any]:
    """The document of an outcome; JSON, but for a time."""
    match outcome:
        case Done(result):
            return {"outcome": "done", "result": result}
        case Failed(error):
            return {"outcome": "failed", "error": error_payload(error)}
        case Retry(error, delay):
            return {"outcome": "retry", "error": error_payload(error), "delay": delay}
        case Waiting():
            return {"outcome": "waiting", **asdict(outcome)}
        case Interrupted() | Lost():  # the worker looks again
            return {"outcome": "lost"}


def outcome_of(document: Mapping[str, Any]) -> Outcome:
    """The outcome that a document tells."""
    match document["outcome"]:
        case "done":
            return Done(document["result"])
        case "failed":
            return Failed(ToldError(document["error"]))
        case "retry":
            return Retry(ToldError(document["error"]), document["delay"])
        case "waiting":
            until = cast("str | None", document["until"])
            return Waiting(
                awaited=document["awaited"],
                on_failure=document["on_failure"],
                until=None if until is None else datetime.fromisoformat(until),
                types=document["types"],
                seen=document["seen"],
            )
        case _:
            return Lost()
