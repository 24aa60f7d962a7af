"""Large values that are wrong everywhere: what is told of them does not grow with them."""

from __future__ import annotations

import json

import pytest

from dama import Service
from dama.broker.errors import invalid_params
from dama.definitions.errors import InvalidParamsError
from dama.domain.excerpt import MOST_PROBLEMS, excerpt, shortened

MANY = 90_000
service = Service("x")


@service.task
async def load(task, a: int = 1, b: list[int] = (), c: dict[str, int] | None = None) -> None:
    """Take numbers."""


class Counted(dict):
    """A mapping that counts how much of it is looked at."""

    seen = 0

    def items(self):
        for pair in super().items():
            Counted.seen += 1
            yield pair


@pytest.mark.parametrize(
    "params",
    [
        {f"k{n}": n for n in range(MANY)},
        {"b": ["x"] * MANY},
        {"c": {f"k{n}": "x" for n in range(MANY)}},
        {"a": "x" * 1_000_000},
        {"a": {f"k{n}": n for n in range(MANY)}},
        {"b": [{"deep": list(range(100))}] * 1000},
        {"b": [1] * MANY + ["x"] * MANY},
    ],
    ids=["keys", "list", "object", "text", "kind", "deep", "late"],
)
def test_an_error_is_as_short_for_many_as_for_some(params):
    with pytest.raises(InvalidParamsError) as raised:
        service.tasks["load"].validate(params)
    problems = raised.value.problems
    assert 1 <= len(problems) <= MOST_PROBLEMS + 1
    assert len(str(raised.value)) < 20_000
    told = invalid_params(raised.value, "x.load", "node")
    assert len(json.dumps(told.data, default=str)) < 200_000


def test_few_problems_are_told_completely():
    params = {"a": "x", "b": [1, "y", 3], "nope": 1}
    with pytest.raises(InvalidParamsError) as raised:
        service.tasks["load"].validate(params)
    assert [p.name + p.path for p in raised.value.problems] == ["a", "b[1]", "nope"]


def test_what_is_left_out_is_said():
    with pytest.raises(InvalidParamsError, match="more problems, which are not told"):
        service.tasks["load"].validate({"b": ["x"] * 1000})


def test_an_excerpt_looks_at_the_beginning_only():
    Counted.seen = 0
    found = excerpt({"a": Counted({f"k{n}": n for n in range(MANY)}), "b": "x" * 5000})
    assert Counted.seen <= MOST_PROBLEMS + 1
    assert len(found["b"]) == 1000
    deep = value = {}
    for _ in range(300):
        value["x"] = value = {}
    assert shortened(deep)
    assert shortened(list(range(MANY))).endswith("...")
    assert shortened("it's") == repr("it's")
