"""Mirrors: what is offered twice, with await and without, is the same by name, params and result.

They are written out for type checkers and editors. Nothing but this keeps one from being forgotten.
"""

import inspect
import re
from typing import get_overloads

import pytest

from dama.client.client import Client
from dama.client.handle import Handle
from dama.client.sync import SyncClient, SyncHandle
from dama.run.subtasks import Subtask
from dama.run.sync_task import SyncSubtask, SyncTask
from dama.run.task import Task

PAIRS = [(Task, SyncTask), (Subtask, SyncSubtask), (Client, SyncClient), (Handle, SyncHandle)]


def public(kind):
    return {
        name: member
        for name, member in inspect.getmembers(kind)
        if not name.startswith("_") and inspect.isfunction(member)
    }


def shape(function):
    """The params with their kinds, defaults and annotations; a result as it is when it is there."""
    signature = inspect.signature(function)
    params = [
        (each.name, each.kind, each.default, plain(each.annotation))
        for each in signature.parameters.values()
    ]
    return params, plain(signature.return_annotation)


def plain(annotation):
    """An annotation without what distinguishes the two."""
    text = str(annotation)
    for name in ("Sync", "Async", "Awaitable", "Coroutine"):
        text = text.replace(name, "")
    text = text.replace("[Any, Any, ", "[").replace("Generator[", "Iterator[")
    return re.sub(r"\b[A-Z]\b", "T", text)  # type variables, whatever they are called


@pytest.mark.parametrize(("kind", "mirror"), PAIRS, ids=lambda each: each.__name__)
def test_the_one_without_await_has_all_that_the_other_has(kind, mirror):
    assert set(public(kind)) - set(public(mirror)) == set()


@pytest.mark.parametrize(("kind", "mirror"), PAIRS, ids=lambda each: each.__name__)
def test_both_take_and_return_the_same(kind, mirror):
    """Each overload as well."""
    mirrored = public(mirror)
    for name, function in public(kind).items():
        if name in mirrored:
            assert shape(mirrored[name]) == shape(function), name
            found = [shape(each) for each in get_overloads(mirrored[name])]
            assert found == [shape(each) for each in get_overloads(function)], name
