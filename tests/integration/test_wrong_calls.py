"""Calls of a client and of a task that cannot work: each says what was found and expected."""

from datetime import timedelta

import pytest

import dama
from dama import DamaError, Service, Slice, SyncTask, Task, WaitTimeoutError
from dama.testing import run

calls = Service("wrong_calls")
numbers = Slice("test_wrong_calls", initial=0)


@numbers.reducer
def added(state: int, by: int) -> int:
    """Add."""
    return state + by


def double(number: int) -> int:
    """A step."""
    return 2 * number


async def triple(number: int) -> int:
    """Another one."""
    return 3 * number


@calls.task
async def load(task: Task, year: int = 2013, *, dry: bool = False) -> int:
    """What is started."""
    return year + int(dry)


OF_CLIENTS = {
    "a function": (lambda c: c.start(len), "is not a task"),
    "a number for params": (lambda c: c.start(load, {"year": 1}, 2), "was given"),
    "too many": (lambda c: c.start(load, 2013, 2014), "Its params are dry, year"),
    "one mapping": (lambda c: c.start_many(load, {"year": 1}), "expected several mappings"),
    "numbers": (lambda c: c.start_many(load, [1]), "was given 1: expected its params"),
    "a key": (lambda c: c.start_many(load, [{}], key="2013"), "expected a function that makes"),
    "a number as key": (lambda c: c.options(key=3).start(load), "key is 3: expected a string"),
    "an option": (lambda c: c.options(kye="2013"), "no option 'kye'. Did you mean"),
    "letters": (lambda c: c.options(labels="gpu"), "labels is the string 'gpu'"),
    "a delay": (lambda c: c.options(delay="soon"), "delay is 'soon': expected seconds"),
    "a priority": (lambda c: c.options(priority="high"), "priority is 'high': expected a whole"),
    "a queue": (lambda c: c.options(queue=""), "queue is '': expected a string"),
    "an id": (lambda c: c.handle("42"), "'42' is not the id of a context"),
    "no task": (lambda c: c.handle(42, len), "is not a task"),
    "a timeout": (lambda c: c.handle(42).result(timeout="soon"), "timeout is 'soon'"),
}
OF_TASKS = {
    "a list": (lambda t: t.wait_any(["a", "b"]), "Write them one after the other"),
    "a type": (lambda t: t.wait_for(3), "was given 3: expected the type of an event"),
    "no function": (lambda t: t.wait_for("a", where="x"), "where was given 'x'"),
    "a time": (lambda t: t.wait_for("a", timeout="soon"), "timeout is 'soon'"),
    "no time": (lambda t: t.sleep("soon"), "task.sleep is 'soon'"),
    "a deadline": (lambda t: t.ask(int, deadline="soon"), "deadline is 'soon'"),
    "no name": (lambda t: t.step("", double, 1), "the name of a step"),
    "the name first": (lambda t: t.step(double, 1), 'task.step("double", double, ...)'),
    "called": (lambda t: t.step("a", double(1)), "expected a function"),
    "called too early": (lambda t: t.step("a", triple(1)), 'task.step("a", triple, ...)'),
    "a task as a step": (lambda t: t.step("a", load), "started with task.run"),
    "no transaction": (lambda t: t.transaction("a", 3), "expected a function"),
    "no action": (lambda t: t.call(3), "the name of an action"),
    "no timeout": (lambda t: t.call("a.b", timeout="soon"), "timeout is 'soon'"),
    "no option": (lambda t: t.call("a.b", tiemout=3), "Did you mean 'timeout'?"),
    "no task": (lambda t: t.run(len), "is not a task"),
    "no start": (lambda t: t.start(len), "is not a task"),
    "params": (lambda t: t.run(load, 2013), 'Write {"dry": ...}'),
    "a limit": (lambda t: t.run(load, timeout="soon"), "timeout is 'soon': expected seconds"),
    "one": (lambda t: t.map(load, {"year": 1}), "expected several mappings"),
    "misspelt": (lambda t: t.map(load, [{}], on_failure="colect"), "'fail_fast' or 'collect'"),
    "half": (lambda t: t.map(load, [{}], limit=1.5), "a limit of 1.5"),
    "a creator": (lambda t: t.dispatch(added), "Call it with the payload"),
    "no event": (lambda t: t.dispatch(3), "expected an event, or the type of one"),
    "a slice's name": (lambda t: t.state("numbers"), "expected a Slice"),
    "previous": (lambda t: t.previous("numbers"), "expected a Slice"),
    "braces": (lambda t: t.previous(numbers, key="year"), 'in braces, as in "{year}"'),
    "no braces": (lambda t: t.previous(numbers, key="2013"), "which names no param"),
    "no string": (lambda t: t.previous(numbers, key=2013), "key is 2013: expected a string"),
    "no change": (lambda t: t.changed(""), "the name of the change"),
}


@calls.task
async def all_wrong(task: Task, year: int = 2013) -> dict[str, str]:
    """Each of them, and what it says."""
    said: dict[str, str] = {}
    for name, (call, _) in OF_TASKS.items():
        try:
            await call(task)
        except DamaError as error:
            said[name] = f"{error} {error.hint or ''}"
    return said


@calls.task
def all_wrong_in_a_thread(task: SyncTask, year: int = 2013) -> dict[str, str]:
    """The same without await."""
    said: dict[str, str] = {}
    for name, (call, _) in OF_TASKS.items():
        try:
            call(task)
        except DamaError as error:
            said[name] = f"{error} {error.hint or ''}"
    return said


async def awaiting(task: Task) -> int:
    """What an `async def` would await."""
    return await task.step("double", double, 1)


async def starting(task: Task) -> int:
    """It waits for a subtask, which blocks in a `def`."""
    return await (await task.start(load)).result()


@calls.task
def returns_a_coroutine(task: Task, *, starts: bool = False) -> int:
    """Annotated as an `async def` would be; it runs all the same."""
    assert task.step("one", double, 1) == 2
    return starting(task) if starts else awaiting(task)  # type: ignore[return-value]


@calls.task
async def in_time(task: Task) -> list[str]:
    """Each door that takes a duration, with a timedelta."""
    short = timedelta(milliseconds=1)
    await task.sleep(short)
    done = [str(await task.run(load, timeout=timedelta(hours=1)))]
    for wait in (
        task.wait_for("approval", short), task.wait_any("a", "b", timeout=short),
        task.ask(int, deadline=short, reminder=timedelta(days=1)),
    ):  # fmt: skip
        try:
            await wait
        except WaitTimeoutError as error:
            done.append(str(error).partition(" waited ")[2][:7])
    return done


def test_a_wrong_call_of_a_client_is_refused_and_nothing_is_queued(dama_database_url):
    """At the call, not in the database and not in a worker."""
    with dama.connect(dama_database_url) as client:
        for name, (call, told) in OF_CLIENTS.items():
            with pytest.raises(DamaError) as caught:
                call(client)
            assert told in f"{caught.value} {caught.value.hint or ''}", name

        first = client.options(delay=timedelta(days=1), labels={"gpu"}).start(load)
        assert first.context_id == 1, "nothing was started before"
        assert first.cancel() == [1]


@pytest.mark.parametrize("task", [all_wrong, all_wrong_in_a_thread])
def test_a_wrong_call_of_a_task_is_refused_before_anything_is_recorded(task):
    """No step, no wait and no subtask of it is in the history."""
    ran = run(task, {"year": 2013})

    for name, (_, told) in OF_TASKS.items():
        assert told in ran.result.get(name, "it was accepted"), name
    assert ran.names == ["INITIAL", "STARTED", "FINAL"]


@pytest.mark.parametrize("starts", [False, True])
def test_a_def_whose_coroutine_uses_its_task_fails_and_does_not_stop_its_worker(starts):
    """Its methods block: in the loop they would wait for the loop itself, with all other runs."""
    ran = run(returns_a_coroutine, {"starts": starts})

    assert ran.status == "ERROR"
    assert "methods block the event loop" in ran.error["message"]
    assert ran.names == ["INITIAL", "STARTED", "one:DONE", "ERROR"]


def test_each_wait_takes_a_timedelta():
    """As every other door does."""
    ran = run(in_time, advance=timedelta(days=1))

    assert ran.result == ["2013", "0.001 s", "0.001 s", "0.001 s"]
