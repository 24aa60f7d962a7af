"""Beside the loop: large values are worked on in a thread, small ones where they are."""

import asyncio
import threading
from dataclasses import dataclass

import msgspec
import pytest

from dama.beside import LARGE_TEXT, MOST_PARTS, beside, is_large, off_loop


class Struct(msgspec.Struct):
    payload: object


@dataclass
class Data:
    payload: object


LARGE = [
    "x" * (LARGE_TEXT + 1),
    b"x" * (LARGE_TEXT + 1),
    list(range(MOST_PARTS + 1)),
    [[]] * (MOST_PARTS + 1),
    {str(n): n for n in range(MOST_PARTS + 1)},
    {"x" * (LARGE_TEXT + 1): 1},
    [["x" * 1000] * 10] * 10,
    [[[n] for n in range(1001)], [[n] for n in range(1001)]],
]


@pytest.mark.parametrize("value", LARGE, ids=range(len(LARGE)))
@pytest.mark.parametrize("around", [lambda v: v, lambda v: {"a": [v]}, Struct, Data])
def test_much_text_or_many_parts_are_large_wherever_they_are(value, around):
    assert is_large(around(value))


@pytest.mark.parametrize(
    "value",
    [None, 1, "x" * LARGE_TEXT, [1] * MOST_PARTS, {}, Struct([1]), Data({"a": 1}), object()],
)
def test_others_are_not(value):
    assert not is_large(value)


def test_no_more_is_looked_at_than_tells():
    """What is deep or refers to itself must not hold the loop either."""
    endless: list[object] = []
    endless += [endless] * 10
    assert is_large(endless)


async def test_a_large_value_is_worked_on_in_a_thread():
    here = threading.get_ident()
    assert await beside("small", threading.get_ident) == here
    assert await beside("x" * (LARGE_TEXT + 1), threading.get_ident) != here


async def test_an_error_of_a_thread_is_that_of_the_caller():
    with pytest.raises(ValueError, match="invalid literal"):
        await beside("x" * (LARGE_TEXT + 1), int, "x")


async def test_the_end_of_an_iterator_in_a_thread_is_told():
    """A future cannot carry it, and whoever waits would wait forever."""
    async with asyncio.timeout(30):
        with pytest.raises(RuntimeError, match="StopIteration"):
            await off_loop(lambda: next(iter(())))
