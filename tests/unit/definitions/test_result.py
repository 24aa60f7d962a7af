"""Results: how what a function returns is kept."""

import time

import pytest

from dama.definitions.result import ResultType


def test_the_adapter_of_a_function_is_made_once():
    """It costs as much as a whole step, and a step's function comes again and again."""

    def counted() -> int:
        return 1

    assert ResultType("a.b", counted).adapter is ResultType("a.b", counted).adapter
    assert ResultType("a.b", lambda: 1).adapter is ResultType("a.b", lambda: 2).adapter


@pytest.mark.parametrize("function", [time.sleep, max, [].append, int, dict.fromkeys])
def test_a_built_in_may_be_a_step(function):
    """It has no signature that could be read, and so no type that its result could break."""
    assert ResultType("step", function).encode({"a": 1}) == {"a": 1}
