r"""Paths of routes, as moleculer-web writes them, and what of a request fits them.

`:name` is a part of a path, or a piece of one (`:name.:type`); `:name?` may be missing; `:name*` is
any number of parts and `:name+` at least one, and gives a list. A path is matched part by part in
linear time: patterns such as `:id(\\d+)` are refused, for one from a node could hold the loop.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import unquote

from dama.gateway.errors import RequestError

if TYPE_CHECKING:
    from collections.abc import Sequence

MOST_PARTS = 200  # of a path that has params which may be missing or repeat
_PIECE = re.compile(r":(\w+)", re.ASCII)
_WHOLE = re.compile(r":(\w+)([?*+])", re.ASCII)
_ODD = re.compile(r"[()\[\]{}\\?*+!^$|<>\s]")
_BROKEN = re.compile(r"%(?![0-9A-Fa-f]{2})")

Params = dict[str, "str | list[str]"]


class PathError(Exception):
    """A path is not one that can be matched; says why."""


@dataclass(frozen=True)
class Part:
    """A part of a path, between two slashes.

    Attributes:
        fixed: Its text around the params: one more than there are params.
        names: Its params.
        times: `?`, `*` or `+` of a param that is the whole part; otherwise nothing.
    """

    fixed: tuple[str, ...]
    names: tuple[str, ...] = ()
    times: str = ""

    def template(self) -> str:
        """As OpenAPI has it."""
        names = [*(f"{{{name}}}" for name in self.names), ""]
        return "".join(text + name for text, name in zip(self.fixed, names, strict=True))

    def match(self, text: str) -> list[str] | None:
        """The values of its params in a part of a path; None when it does not fit."""
        if not self.names:
            return [] if text == self.fixed[0] else None
        values: list[str] = []
        end = len(text)
        # From the right: a param has no character that stands before it, so there is one way only.
        for before, after in zip(self.fixed[-2::-1], self.fixed[:0:-1], strict=True):
            if not text.endswith(after, 0, end):
                return None
            end -= len(after)
            place = text.rfind(before[-1:], 0, end) + 1 if before else 0
            if place >= end or (before and not place):
                return None
            values.append(text[place:end])
            end = place
        return values[::-1] if text[:end] == self.fixed[0] else None


class Path:
    """A path of a route.

    Attributes:
        text: As it is written.
        names: Its params.
        rank: Long paths before short ones, fixed parts before params, as moleculer-web has it.

    Raises:
        PathError: It has what cannot be matched.
    """

    def __init__(self, text: str) -> None:
        self.text = "/" + "/".join(part for part in text.split("/") if part)
        parts = self.text.split("/")[1:] if self.text != "/" else []
        self._parts = [_part(each) for each in parts]
        self.names = [name for part in self._parts for name in part.names]
        if len(set(self.names)) < len(self.names):
            raise PathError(f"{text} has a param twice")
        if sum(part.times in ("*", "+") for part in self._parts) > 1:
            raise PathError(f"{text} has two params that repeat")
        self._is_plain = not any(part.times for part in self._parts)
        self.rank = (-len(parts), self.text.count(":"), self.text)

    def templates(self) -> list[str]:
        """The path as OpenAPI has it, once without each param at its end that may be missing."""
        names = [part.template() for part in self._parts]
        found = ["/" + "/".join(names)]
        for part in reversed(self._parts):
            if part.times not in ("?", "*"):
                break
            names.pop()
            found.append("/" + "/".join(names))
        return found

    def match(self, parts: Sequence[str]) -> Params | None:
        """The params in the parts of a path that is still encoded; None when it does not fit.

        Raises:
            RequestError: A param is not UTF-8 in percent-encoding.
        """
        counts = self._plain_counts(parts) if self._is_plain else self._counts(parts)
        if counts is None:
            return None
        params: Params = {}
        place = 0
        for part, count in zip(self._parts, counts, strict=True):
            taken = parts[place : place + count]
            place += count
            if part.times in ("*", "+"):
                if taken:
                    params[part.names[0]] = [decoded(each) for each in taken]
            elif taken:
                values = part.match(taken[0]) or []
                params.update(zip(part.names, map(decoded, values), strict=True))
        return params

    def _plain_counts(self, parts: Sequence[str]) -> list[int] | None:
        if len(parts) != len(self._parts):
            return None
        for part, text in zip(self._parts, parts, strict=True):
            if part.match(text) is None:
                return None
        return [1] * len(parts)

    def _counts(self, parts: Sequence[str]) -> list[int] | None:
        """How many parts each of this path takes, as many as it can from the left; None: no fit."""
        if len(parts) > MOST_PARTS:
            return None
        rests: list[list[list[int] | None]] = [[None] * len(parts) + [[]]]
        for part in reversed(self._parts):
            rests.append(_before(part, parts, rests[-1]))
        return rests[-1][0]


def _before(
    part: Part, parts: Sequence[str], after: Sequence[list[int] | None]
) -> list[list[int] | None]:
    """What a part and those after it take, from each place on."""
    found: list[list[int] | None] = [None] * (len(parts) + 1)
    for place in range(len(parts), -1, -1):
        fits = place < len(parts) and part.match(parts[place]) is not None
        more = found[place + 1] if fits and part.times in ("*", "+") else None
        rest = after[place + 1] if fits else None
        if more is not None and more[0] > 0:
            found[place] = [more[0] + 1, *more[1:]]
        elif rest is not None:
            found[place] = [1, *rest]
        elif part.times in ("?", "*") and (rest := after[place]) is not None:
            found[place] = [0, *rest]
    return found


def decoded(text: str) -> str:
    """A piece of a path without its percent-encoding.

    Raises:
        RequestError: It is not UTF-8 in percent-encoding.
    """
    if "%" not in text:
        return text
    try:
        if not _BROKEN.search(text):
            return unquote(text, errors="strict")
    except UnicodeDecodeError:
        pass
    raise RequestError(
        "UNABLE_DECODE_PARAM",
        f"{text[:60]!r} in the path is not UTF-8 in percent-encoding.",
        "Write a percent sign as %25.",
        data={"param": text[:60]},
    )


def split(path: str) -> list[str]:
    """The parts of a path that is still encoded; one slash at its end does not count."""
    inner = path.removeprefix("/").removesuffix("/")
    return inner.split("/") if inner else []


def _part(text: str) -> Part:
    if whole := _WHOLE.fullmatch(text):
        return Part(("", ""), (whole[1],), whole[2])
    pieces = _PIECE.split(text)
    fixed, names = tuple(pieces[::2]), tuple(pieces[1::2])
    if odd := _ODD.search("".join(fixed)):
        raise PathError(
            f"{text} has {odd[0]!r}: a param may be :name, and as a whole part :name?, :name* or "
            ":name+; patterns are not taken"
        )
    if not all(fixed[1:-1]):
        raise PathError(f"{text} has two params with nothing between them")
    return Part(fixed, names)
