"""Replay of changed code: who gets the record of another function or subtask is told."""

import pytest

from dama import Service, Task
from dama.definitions.registry import Registry
from dama.domain.journal import Journal
from dama.run.subtasks import Endings
from dama.store import Start
from dama.worker.worker import Worker

code = Service("code")
now = {}


def one() -> int:
    return 1


def two() -> int:
    return 2


@code.task
async def child(task: Task, n: int) -> int:
    return n


@code.task
async def changed(task: Task, transactional: bool = False) -> int:  # noqa: FBT001, FBT002 - a param of a task
    """Do what the code of the moment says, and fail so that it can be resumed."""
    if "function" in now:
        await task.step("count", now["function"], transactional=transactional)
    if "params" in now:
        await task.map(child, now["params"])
    if now["fails"]:
        raise ValueError("resume me")
    return 0


def of_connection(connection) -> int:
    return 1


def of_other(connection) -> int:
    return 1


async def replayed(store, first, second, **params):
    """Run with the first code until it fails, go on with the second; how it ended."""
    (context,) = await store.start([Start(changed.name, params)])
    async with Worker(store, Registry([code])).working():
        outcome = None
        for state in ({**first, "fails": True}, {**second, "fails": False}):
            now.clear()
            now.update(state)
            if outcome is not None:
                await store.resume(context, {})
            found = await Endings(store, lambda: None).wait(
                [context], fail_fast=False, may_park=lambda: False
            )
            outcome = found[context]
    return outcome


@pytest.mark.parametrize(
    ("first", "second", "params", "names"),
    [
        ({"function": one}, {"function": two}, {}, ["code", "test_replay:one", "test_replay:two"]),
        (
            {"function": of_connection}, {"function": of_other}, {"transactional": True},
            ["of_connection", "of_other"],
        ),
        ({"params": [{"n": 1}]}, {"params": [{"n": 2}]}, {}, ["{'n': 1}", "{'n': 2}"]),
        ({"params": [{"n": 1}] * 2}, {"params": [{"n": 1}]}, {}, ["2 subtasks", "would be 1"]),
    ],
    ids=["function", "transactional", "params", "number"],
)  # fmt: skip
async def test_a_record_of_other_code_stops_the_run_and_names_both(
    store, first, second, params, names
):
    outcome = await replayed(store, first, second, **params)
    assert outcome.error["name"] == "ReplayError"
    assert all(name in outcome.error["message"] for name in names)


async def test_the_same_code_goes_on(store):
    same = {"function": one, "params": [{"n": 1}, {"n": 2}]}
    assert (await replayed(store, same, same)).status == "DONE"


async def test_a_record_of_an_older_version_is_adopted(store, monkeypatch):
    """It does not say which function it was."""
    take = Journal.take

    def forgetful(self, event):
        take(self, event)
        self.functions.clear()
        self.spawned.clear()

    monkeypatch.setattr(Journal, "take", forgetful)
    assert (await replayed(store, {"function": one}, {"function": two})).status == "DONE"
