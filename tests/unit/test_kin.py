"""What a branch is known by: the function that it runs, and what that was called with."""

import xmlrpc.client
from unittest import mock

import pytest

from dama.run.kin import kin_of


class Anything:
    """Has whatever it is asked for, as proxies do."""

    def __getattr__(self, name):
        return self


async def load(first, *, second=None):
    """A helper."""


async def store(first, *, second=None):
    """Another one with the same params."""


def kin(*args, helper=load, **kwargs):
    coroutine = helper(*args, **kwargs)
    try:
        return kin_of(coroutine)
    finally:
        coroutine.close()


def test_the_function_and_what_it_was_called_with_tell_branches_apart():
    assert kin(1) == kin(1)
    assert len({kin(1), kin(2), kin("1"), kin([1]), kin(1, second=2), kin(1, helper=store)}) == 6


@pytest.mark.parametrize(
    "argument",
    [
        Anything(),
        [[Anything()]],
        mock.call,
        xmlrpc.client.ServerProxy("http://127.0.0.1:1"),
        "\ud800",
        object(),
        {1, 2},
    ],
    ids=lambda value: type(value).__name__,
)
def test_anything_may_be_an_argument(argument):
    """It need not tell branches apart, and each is started all the same."""
    assert kin(argument) == kin(argument)
