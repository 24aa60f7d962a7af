"""The table of docs/reference/values.md: what becomes of each kind of value at each door."""

import enum
import math
import pathlib
import uuid
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from fractions import Fraction
from typing import Any

import numpy as np
import pandas as pd
from pydantic import BaseModel


class Colour(enum.Enum):
    """A plain Enum."""

    RED = "red"


class Level(enum.IntEnum):
    """Numbers with names."""

    LOW = 1


class Word(enum.StrEnum):
    """Texts with names."""

    YES = "yes"


@dataclass
class Row:
    """A dataclass."""

    price: float
    day: date = date(2026, 1, 2)
    tags: list[str] = field(default_factory=list)


class Model(BaseModel):
    """A model."""

    price: float
    amount: Decimal = Decimal("1.10")


class Same:
    """The value comes back equal to itself."""


@dataclass
class Refused:
    """Refused with this in the message."""

    words: str


SAME = Same()


@dataclass
class Kind:
    """The outcome of a value.

    Attributes:
        value: It.
        kept: In events without an annotation: SAME, what comes back, or Refused.
        payload: In a payload of an event, where nothing but JSON goes; by default as kept.
        wire: In the answer of an action, as JSON; by default what is kept.
    """

    value: Any
    kept: Any
    payload: Any = None
    wire: Any = None


def refused(value, words, wire=None):
    """A kind that an event does not hold."""
    return Kind(value, Refused(words), wire=wire)


NOT_A_NUMBER = "NaN is not JSON. Use None (null) or a string"
KINDS: dict[str, Kind] = {
    "null": Kind(None, SAME),
    "true": Kind(value=True, kept=SAME),
    "zero": Kind(0, SAME),
    "integer": Kind(2**53 + 1, SAME),
    "integer of 300 digits": Kind(10**300, SAME),
    "integer of 5,000 digits": refused(10**5000, "too many digits", wire=Refused("")),
    "float": Kind(0.1 + 0.2, SAME),
    "float of 1e15": Kind(1e15, SAME),
    "float of 1e16": Kind(1e16, SAME),
    "float of 1e23": Kind(1e23, SAME),
    "largest float": Kind(1.7976931348623157e308, SAME),
    "smallest float": Kind(5e-324, SAME),
    "negative zero": Kind(-0.0, SAME),
    "NaN": refused(math.nan, NOT_A_NUMBER, wire=Refused(NOT_A_NUMBER)),
    "Infinity": refused(math.inf, "Infinity is not JSON", wire=Refused("Infinity is not JSON")),
    "-Infinity": refused(-math.inf, "-Infinity is not JSON", wire=Refused("-Infinity is")),
    "text": Kind("Grüße 🎉 \u202e", SAME),
    "empty text": Kind("", SAME),
    "U+0000": refused("a\0b", "U+0000", wire="a\0b"),
    "lone surrogate": refused("\ud83d", "lone surrogate", wire=Refused("")),
    "list": Kind([1, "a", None, [2.5]], SAME),
    "tuple": Kind((1, (2, 3)), [1, [2, 3]]),
    "object": Kind({"a": {"b": [1]}, "": 0}, SAME),
    "key of an integer": refused({1: "a"}, "has the key", wire={"1": "a"}),
    "key of a boolean": refused({True: "a"}, "has the key", wire=Refused("")),
    "key of None": refused({None: "a"}, "has the key", wire=Refused("")),
    "key of a tuple": refused({(1, 2): "a"}, "has the key", wire=Refused("")),
    "key of a date": refused({date(2026, 1, 2): 1}, "has the key", wire={"2026-01-02": 1}),
    "IntEnum": Kind(Level.LOW, SAME, wire=1),
    "StrEnum": Kind(Word.YES, SAME, wire="yes"),
    "Enum": refused(Colour.RED, "is a Colour", wire="red"),
    "Decimal": refused(Decimal("1.10"), "Use str() to keep its digits, or float()", wire="1.10"),
    "Fraction": refused(Fraction(1, 3), "is a Fraction", wire="1/3"),
    "complex": refused(1 + 2j, "is a complex", wire="1+2j"),
    "bytes": refused(b"abc", "Use .decode() for text", wire="YWJj"),
    "bytearray": refused(bytearray(b"abc"), "is a bytearray", wire="YWJj"),
    "datetime": refused(
        datetime(2026, 1, 2, 3, tzinfo=UTC), "Use .isoformat()", wire="2026-01-02T03:00:00Z"
    ),
    "date": refused(date(2026, 1, 2), "Use .isoformat()", wire="2026-01-02"),
    "time": refused(time(1, 2), "Use .isoformat()", wire="01:02:00"),
    "timedelta": refused(timedelta(seconds=90), "Use .total_seconds()", wire="PT90S"),
    "UUID": refused(uuid.UUID(int=1), "Use str()", wire=str(uuid.UUID(int=1))),
    "Path": refused(pathlib.PurePosixPath("/a"), "Use str()", wire="/a"),
    "set": refused({1}, "Use sorted() or list()", wire=[1]),
    "frozenset": refused(frozenset({1}), "Use sorted() or list()", wire=[1]),
    "object()": refused(object(), "is a object", wire=Refused("")),
    "dataclass": Kind(
        Row(1.5), {"price": 1.5, "day": "2026-01-02", "tags": []}, Refused("is a Row")
    ),
    "model": Kind(Model(price=1.5), {"price": 1.5, "amount": "1.10"}, Refused("is a Model")),
    "NaN in a dataclass": Kind(
        Row(math.nan), Refused("price is nan"), Refused("is a Row"), Refused("")
    ),
    "numpy integer": Kind(np.int64(2**60), SAME),
    "numpy unsigned": Kind(np.uint64(2**64 - 1), SAME),
    "numpy float32": Kind(np.float32(0.1), SAME),
    "numpy float64": Kind(np.float64(0.1), SAME),
    "numpy boolean": Kind(np.bool_(1), kept=True),
    "numpy text": Kind(np.str_("a"), SAME),
    "numpy NaN": refused(np.float32("nan"), "NaN is not JSON", wire=Refused("NaN is not JSON")),
    "numpy date": refused(np.datetime64("2026-01-02"), "is a datetime64", wire=Refused("")),
    "numpy array": refused(np.array([1, 2]), "Use .tolist()", wire=Refused("")),
    "pandas Timestamp": refused(
        pd.Timestamp("2026-01-02"), "Use .isoformat()", wire="2026-01-02T00:00:00"
    ),
    "pandas NaT": refused(pd.NaT, "Use None", wire=Refused("")),
    "pandas NA": refused(pd.NA, "Use None", wire=Refused("")),
    "pandas Series": refused(pd.Series([1]), "Use .tolist()", wire=Refused("")),
    "pandas DataFrame": refused(pd.DataFrame({"a": [1]}), "to_dict", wire=Refused("")),
}


def is_same(found, value):
    """Equal, and of a kind of JSON that the value is, too."""
    plain = value.item() if isinstance(value, np.generic) else value
    wanted = next((t for t in (bool, int, float, str) if isinstance(plain, t)), type(plain))
    return (
        found == plain and isinstance(found, wanted) and isinstance(found, bool) == (wanted is bool)
    )
