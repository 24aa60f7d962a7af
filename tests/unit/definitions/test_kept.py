"""What is kept: each kind of value comes back as it was, or is refused with the path to it."""

import math
import re
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import numpy as np
import pytest
from pydantic import BaseModel

from dama import Service
from dama.definitions.errors import InvalidParamsError, InvalidResultError
from dama.definitions.result import ResultType
from dama.domain.errors import InvalidEventError
from dama.domain.event import Event, check_event
from tests.values import KINDS, SAME, Colour, Kind, Model, Refused, Row, is_same

kinds = pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)


def nothing_said(): ...


def any_said() -> Any: ...


def dict_said() -> dict[str, Any]: ...


@kinds
@pytest.mark.parametrize("function", [nothing_said, any_said])
def test_a_result_without_a_type_comes_back_or_is_refused(kind: Kind, function):
    """It is compared before it is kept, while somebody can still mend it."""
    result = ResultType("a.b", function)

    if isinstance(kind.kept, Refused):
        with pytest.raises(InvalidResultError, match="result") as caught:
            result.encode(kind.value)
        assert kind.kept.words in str(caught.value)
        return
    back = result.decode(result.encode(kind.value))

    assert is_same(back, kind.value) if kind.kept is SAME else back == kind.kept


@kinds
def test_the_path_to_what_is_refused_is_named(kind: Kind):
    """In a result of a thousand rows the path is what helps."""
    result = ResultType("a.b", dict_said)
    value = {"rows": [{"price": 1}, {"price": kind.value}]}

    if isinstance(kind.kept, Refused):
        with pytest.raises(InvalidResultError, match=r"result\.rows\[1\]\.price"):
            result.encode(value)
    else:
        assert result.encode(value)


@kinds
def test_a_payload_holds_nothing_but_json(kind: Kind):
    """What an event is given is written as it is, so nothing is made of a value there."""
    wanted = kind.kept if kind.payload is None else kind.payload

    if isinstance(wanted, Refused):
        with pytest.raises(InvalidEventError, match=r"payload\.a") as caught:
            check_event(Event("A", {"a": kind.value}))
        assert wanted.words in str(caught.value)
    else:
        check_event(Event("A", {"a": kind.value}))


@kinds
def test_params_without_a_type_are_as_results(kind: Kind):
    """A worker on another machine gets what the caller gave."""
    service = Service("values")

    @service.task
    async def take(task, value: Any) -> None: ...

    if isinstance(kind.kept, Refused):
        with pytest.raises(InvalidParamsError, match="value") as caught:
            take.encode_params({"value": kind.value})
        assert kind.kept.words in str(caught.value)
        return
    back = take.arguments(take.encode_params({"value": kind.value}))["value"]

    assert is_same(back, kind.value) if kind.kept is SAME else back == kind.kept


class Price(BaseModel):
    """A model with a field that says nothing."""

    value: Any


@dataclass
class Loose:
    """A dataclass with a field that says nothing."""

    value: Any


def decimal_said() -> Decimal: ...


def date_said() -> date: ...


def uuid_said() -> UUID: ...


def bytes_said() -> bytes: ...


def set_said() -> set[int]: ...


def keys_said() -> dict[int, str]: ...


def colour_said() -> Colour: ...


def row_said() -> Row: ...


def model_said() -> list[Model]: ...


def tuple_said() -> tuple[int, date]: ...


def float_said() -> float: ...


def rows_said() -> list[dict[str, Any]]: ...


def loose_said() -> Loose: ...


def price_said() -> Price: ...


def datetime_said() -> datetime | None: ...


@pytest.mark.parametrize(
    ("function", "value"),
    [
        (decimal_said, Decimal("1.10")),
        (decimal_said, Decimal("123456789012345678901234567890.123456789")),
        (date_said, date(2026, 1, 2)),
        (uuid_said, UUID(int=7)),
        (bytes_said, b"abc"),
        (set_said, {1, 2}),
        (keys_said, {1: "a"}),
        (colour_said, Colour.RED),
        (row_said, Row(1.5)),
        (model_said, [Model(price=1.5)]),
        (tuple_said, (1, date(2026, 1, 2))),
        (float_said, np.float32(0.5)),
        (float_said, 3),
        (datetime_said, None),
        (rows_said, [{"n": np.int64(1)}]),
    ],
)
def test_an_annotation_keeps_what_json_has_no_word_for(function, value):
    """It says how the text in the event is read again."""
    result = ResultType("a.b", function)

    assert result.decode(result.encode(value)) == value


@pytest.mark.parametrize(
    ("function", "value", "words"),
    [
        (float_said, math.nan, "result is nan"),
        (float_said, Decimal("0.1"), "result is a Decimal"),
        (float_said, 2**60 + 1, "would come back as"),
        (row_said, Row(math.inf), r"result\.price is inf"),
        (model_said, [Model(price=1), Model(price=math.nan)], r"result\[1\]\.price is nan"),
        (rows_said, [{}, {"at": date(2026, 1, 2)}], r"result\[1\]\.at is a date"),
        (rows_said, [{"a": {1: 2}}], r"result\[0\]\.a has the key 1"),
        (rows_said, [{"a": math.nan}], r"result\[0\]\.a is nan"),
        (loose_said, Loose({"a": [math.nan]}), r"result\.value\.a\[0\] is nan"),
        (price_said, Price(value=[1, math.inf]), r"result\.value\[1\] is inf"),
        (bytes_said, b"\xff\xfe", "result"),
    ],
)
def test_an_annotation_does_not_hide_what_is_lost(function, value, words):
    """Parts of a type may say nothing, and a float may hold what JSON does not."""
    with pytest.raises(InvalidResultError, match=words):
        ResultType("a.b", function).encode(value)


def test_a_result_that_is_too_large_or_too_deep_is_refused():
    """The event could not hold it, and a page could not show it."""
    deep: list[Any] = []
    for _ in range(100):
        deep = [deep]
    endless: list[Any] = []
    endless.append(endless)
    result = ResultType("a.b", nothing_said)

    with pytest.raises(InvalidResultError, match="1,048,578 bytes of JSON; 1,048,576 are the most"):
        result.encode("x" * 1024 * 1024)
    for value in (deep, endless):
        with pytest.raises(InvalidResultError, match="nested deeper than 100"):
            result.encode(value)
    assert result.encode(deep[0]) == deep[0]


def test_defaults_of_params_are_held_to_the_same():
    """A default is not validated when it is defined."""
    service = Service("values")

    @service.task
    async def take(task, ratio: float = math.nan) -> None: ...

    with pytest.raises(InvalidParamsError, match="ratio is nan"):
        take.encode_params({})


def test_what_a_typed_param_takes_is_kept_by_its_type():
    """A date is text in the event, and a date again in the task."""
    service = Service("values")

    @service.task
    async def take(task, day: date, ids: set[int], amount: Decimal, n: int) -> None: ...

    given = {"day": date(2026, 1, 2), "ids": {1, 2}, "amount": Decimal("0.10"), "n": np.int64(3)}

    assert take.arguments(take.encode_params(given)) == given


def test_the_page_has_a_row_for_each_kind():
    """The page is what people read; the table of the tests is what holds."""
    page = Path(__file__).parents[3].joinpath("docs/reference/values.md").read_text("utf-8")
    rows = dict(re.findall(r"^\| ([^|]+) \| ([^|]+) \|", page, re.MULTILINE))

    assert list(rows)[1:] == list(KINDS)
    for name, kind in KINDS.items():
        assert rows[name].startswith("refused" if isinstance(kind.kept, Refused) else "kept"), name
