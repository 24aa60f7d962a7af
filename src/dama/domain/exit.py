"""Exits: what the way in which a program ended means for its run. Nothing is read or written."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from dama.errors import DamaError
from dama.shapes import Json, is_dict

LOST = "The program and its shim are gone, and nobody knows how it ended."
UNKNOWN = "The shim of the program was killed, so nobody knows how it ended, and it left no result."
LONGEST_WORDS = 300
TIMED_OUT = "timed out"  # what the report of the shim has as `why`


class ProgramError(DamaError):
    """A program did not do its work.

    Attributes:
        data: How it ended, and the last lines of its standard error.
        is_final: Whether another attempt is of no use.
    """

    code = "PROGRAM"
    exit_code = 1

    def __init__(
        self,
        message: str,
        data: Mapping[str, Any] | None = None,
        *,
        is_final: bool = False,
        hint: str | None = None,
    ) -> None:
        super().__init__(message, hint or "`dama logs CONTEXT --stderr` shows what it said.")
        self.data = dict(data or {})
        self.is_final = is_final


class ProgramLostError(ProgramError):
    """Nobody knows how a program ended."""

    code = "PROGRAM_LOST"


@dataclass(frozen=True)
class ExitCodes:
    """What the exit codes of a program mean.

    Attributes:
        done: It did its work.
        retry: A further attempt is worth it, as the retries allow; None for every other code.
        fail: It failed for good.
    """

    done: frozenset[int] = frozenset({0})
    retry: frozenset[int] | None = None
    fail: frozenset[int] = frozenset()


@dataclass(frozen=True)
class Exit:
    """How a program ended, and what it left.

    Attributes:
        program: What messages call it.
        report: Of its shim; None when that was killed.
        is_lost: Whether the program was gone before anybody followed it.
        result: What it left as its result; None for nothing that can be used.
        left_out: What it left and nobody kept, and why, by kind.
        stderr: Its last lines there, without secrets.
        shim: The last line in the log of its shim.
    """

    program: str
    report: Mapping[str, Json] | None
    is_lost: bool = False
    result: object = None
    left_out: Mapping[str, str] = field(default_factory=dict[str, str])
    stderr: Sequence[str] = ()
    shim: str = ""


def judged(exit_: Exit, codes: ExitCodes) -> object:
    """The result of a program that did its work.

    Args:
        exit_: How it ended.
        codes: What its exit codes mean.

    Raises:
        ProgramError: It did not do its work.
    """
    report = exit_.report
    if exit_.is_lost:
        raise ProgramLostError(_said(LOST, exit_.shim), _facts(exit_))
    if report is None:
        if exit_.result is None:
            raise ProgramLostError(_said(UNKNOWN, exit_.shim), _facts(exit_))
        return exit_.result
    code: int | None = report["code"]
    if report["why"] == "" and "error" not in report and code in codes.done:
        return _result(exit_, code)
    is_final = not report["why"] and code is not None and _is_final(code, codes)
    raise ProgramError(complaint(exit_), _facts(exit_), is_final=is_final)


def complaint(exit_: Exit) -> str:
    """Why a program that ended did not do its work, in words."""
    program, report = exit_.program, exit_.report or {}
    if report["why"] == TIMED_OUT:
        return f"{program} reached its timeout and was terminated."
    if report["why"]:
        return f"{program} was told to end."
    if "error" in report:
        return f"{program} could not be started: {report['error']}"
    words = f"{program} was killed by signal {report['signal']}"
    if report["signal"] is None:
        words = f"{program} ended with exit code {report['code']}"
    return f"{words}: {exit_.stderr[-1][:LONGEST_WORDS]}" if exit_.stderr else f"{words}."


def _said(words: str, last: str) -> str:
    return f"{words} Its shim said: {last}" if last else words


def _result(exit_: Exit, code: int | None) -> object:
    """With what was left out, if anything was."""
    result, left_out = exit_.result, dict(exit_.left_out)
    if result is not None and not left_out:
        return result
    if is_dict(result):
        return {**result, "left_out": left_out}
    if result is not None:
        return {"result": result, "left_out": left_out}
    return {"exit_code": code, **({"left_out": left_out} if left_out else {})}


def _is_final(code: int, codes: ExitCodes) -> bool:
    return code in codes.fail or (codes.retry is not None and code not in codes.retry)


def _facts(exit_: Exit) -> dict[str, Any]:
    report = {} if exit_.is_lost else exit_.report or {}
    known = {
        "exit_code": report.get("code"),
        "signal": report.get("signal"),
        "stderr": list(exit_.stderr),
    }
    return {name: value for name, value in known.items() if value not in (None, [])}
