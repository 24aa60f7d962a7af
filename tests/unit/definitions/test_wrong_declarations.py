"""Declarations that cannot work: each is refused where it stands, with what would work."""

import traceback
from datetime import timedelta
from typing import Any

import pytest

from dama import BrokerOptions, Call, DamaError, Part, Retry, Service, Slice, SyncTask, Task, step
from dama.config.duration import parse_duration
from dama.definitions.policies import BulkheadPolicy, CachePolicy, RetryPolicy

numbers = Slice("test_wrong_numbers", initial=0)


@numbers.reducer
def added(state: int, by: int) -> int:
    """Add."""
    return state + by


async def load(task: Task, airport: str = "") -> None:
    """Load."""


async def blocking(task: SyncTask) -> None:
    """An `async def` that would block."""


async def answer(call: Call) -> None:
    """An action."""


async def total(state: int, by: int) -> int:
    """A reducer that nobody awaits."""
    return state + by


def task(**settings: Any) -> object:
    return Service("etl").task(**settings)(load)


def a_step(**settings: Any) -> object:
    return step(**settings)(total)


def action(**settings: Any) -> object:
    return Service("etl").action(**settings)(answer)


DURATIONS = {
    f"{door.__name__}: {name}={value!r}": (
        lambda door=door, name=name, value=value: door(**{name: value}),
        f"{name} is {value!r}: expected seconds",
    )
    for door, names in {
        task: ("timeout", "deadline", "backoff", "max_backoff"),
        a_step: ("timeout", "backoff", "max_backoff"),
        action: ("timeout",),
        Retry: ("after",),
        RetryPolicy: ("delay",),
        CachePolicy: ("ttl",),
        BrokerOptions: ("request_timeout",),
    }.items()
    for name in names
    for value in ("soon", "-1s", "", -1, True, [1], float("nan"), timedelta(-1), 1e12)
}
WRONG = DURATIONS | {
    "retries in quotes": (lambda: task(retries="3"), "retries is '3': expected a whole number"),
    "half a retry": (lambda: task(retries=1.5), "retries is 1.5: expected a whole number"),
    "retries=True": (lambda: task(retries=True), "retries is True: expected a whole number"),
    "too much priority": (lambda: task(priority=2**31), "priority is 2147483648"),
    "no crashes": (lambda: task(crashes=0), "crashes is 0: expected a whole number, at least 1"),
    "errors in quotes": (lambda: task(retry_on="OSError"), "expected a class of exceptions"),
    "an error": (lambda: task(fail_on=OSError()), "fail_on is OSError(): expected a class"),
    "a type": (lambda: task(retry_on=(OSError, int)), "expected a class of exceptions"),
    "a label": (lambda: task(labels="gpu"), "labels is the string 'gpu': expected several"),
    "numbers": (lambda: task(labels=[1]), "labels is [1]: expected strings"),
    "an alias": (lambda: task(aliases="old"), "aliases is the string 'old'"),
    "a queue": (lambda: task(queue=3), "queue is 3: expected a string"),
    "a singleton": (lambda: task(singleton="wait"), "singleton is 'wait': expected one of"),
    "an isolation": (lambda: task(isolation="thread"), "isolation is 'thread': expected 'process'"),
    "a fork": (lambda: task(fork=True), "fork is True: expected 'refuse'"),
    "no braces": (
        lambda: task(concurrency=1, concurrency_key="airport"), 'in braces, as in "{airport}"'
    ),
    "another param": (
        lambda: task(concurrency=1, concurrency_key="{port}"), "names 'port', which is not one"
    ),
    "a clean-up": (lambda: task(on_failure=load), "which is not a task"),
    "a name": (lambda: task(name=3), "name is 3: expected a string"),
    "an empty name": (lambda: task(name=""), "name is '': expected a string"),
    "an option": (lambda: task(retrys=3), "no option 'retrys'. Did you mean 'retries'?"),
    "a service's name": (lambda: Service(3), "name of a service is 3: expected a string"),
    "a dependency": (lambda: Part(dependencies="mail"), "dependencies is the string 'mail'"),
    "a part": (lambda: Service("a", parts=[load]), "expected a list of parts"),
    "settings": (lambda: Service("a", settings=[1]), "settings is [1]: expected a mapping"),
    "blocking": (lambda: Service("a").task(blocking), "or leave out `async`"),
    "a call": (lambda: Service("a").task(answer), "which actions get"),
    "a task": (lambda: Service("a").action(load), "which tasks get"),
    "a handler": (lambda: Service("a").on("x")(load), "which tasks get"),
    "no event": (lambda: Service("a").on(load), 'as in @service.on("order.paid")'),
    "no pattern": (lambda: Service("a").before(load), "Write @service.before()"),
    "a hook": (lambda: action(before="check"), "before is 'check': expected a function"),
    "a status": (lambda: action(status="200"), "status is '200': expected a whole number"),
    "routes": (lambda: action(rest=[3]), "rest is [3]: expected strings"),
    "a breaker": (lambda: action(breaker=3), "breaker is 3: expected True or a BreakerPolicy"),
    "tries": (lambda: action(retries="3"), "retries is '3': expected a whole number"),
    "letters": (lambda: CachePolicy(keys="year"), "keys is the string 'year'"),
    "no room": (lambda: BulkheadPolicy(concurrency=0), "concurrency is 0: expected"),
    "a step's name": (lambda: step(name="")(total), "name is '': expected a string"),
    "a step's number": (lambda: step(name=3)(total), "name is 3: expected a string"),
    "a step's retries": (lambda: step(retries=1.5)(total), "retries is 1.5: expected"),
    "a step's errors": (lambda: step(retry_on="OSError")(total), "retry_on is 'OSError'"),
    "a step's option": (lambda: a_step(retrys=3), "no option 'retrys'"),
    "a slice's name": (lambda: Slice(3, initial=0), "name of a slice is 3: expected a string"),
    "a version": (lambda: Slice("test_a", initial=0, version="2"), "version is '2': expected"),
    "a reducer": (lambda: numbers.reducer(total), "Write a plain function"),
    "an event's type": (lambda: numbers.on(total), "as the type of an event: expected a string"),
    "no types": (lambda: [numbers.on()], "was given nothing as the type of an event"),
    "a predicate": (lambda: numbers.on_match(total), "Write a plain function"),
    "a payload": (lambda: added("7"), "made with '7', which its reducer does not take"),
    "no payload": (lambda: [added()], "made without a payload, which its reducer does not take"),
}  # fmt: skip


@pytest.mark.parametrize(("declare", "told"), WRONG.values(), ids=WRONG)
def test_it_is_refused_where_it_stands_with_what_would_work(declare, told):
    """No bare error of Python, no option that is silently ignored, no set of letters."""
    with pytest.raises(DamaError) as caught:
        declare()

    assert told in f"{caught.value} {caught.value.hint or ''}"
    frames = traceback.extract_tb(caught.value.__traceback__)
    assert any(frame.filename == __file__ for frame in frames[1:]), "the author's line is shown"


@pytest.mark.parametrize(
    "value", [5400, "1h30m", "90m", timedelta(hours=1, minutes=30), "5400s", 5400.0]
)
def test_a_duration_is_a_number_of_seconds_a_string_or_a_timedelta(value):
    """The same at every door."""
    service = Service("etl")
    definition = service.task(timeout=value, deadline=value, backoff=value)(load)
    made = step(timeout=value, max_backoff=value)(total)

    assert parse_duration(value, of="x") == 5400
    assert (definition.options.timeout, definition.options.deadline) == (5400, 5400)
    assert (made.options.timeout, made.options.max_backoff) == (5400, 5400)
    assert service.action(timeout=value)(answer).options.timeout == 5400
    assert Retry(after=value).after == 5400
    assert RetryPolicy(delay=value).delay == CachePolicy(ttl=value).ttl == 5400
    assert BrokerOptions(request_timeout=value).request_timeout == 5400
    assert RetryPolicy(delay=value) == RetryPolicy(delay=5400)


def test_null_is_a_payload_where_a_reducer_takes_none():
    """It is stored as it will be read."""
    numbers = Slice("test_wrong_resets", initial=0)

    @numbers.reducer
    def reset(_: int, __: None) -> int:
        return 0

    assert reset().payload is None
    assert numbers.reduce(3, reset()) == 0
