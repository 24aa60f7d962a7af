"""Random small programs of all that a task may do, and tasks that perform them.

A program is JSON: a list of operations, each with its name first. What it returns and what it
records do not depend on which of its branches is the fastest, so that two runs can be compared.
Most names in it are the same; the numbers tell its parts from each other.
"""

import asyncio
import json
from contextlib import suppress
from random import Random

from dama import Service, Slice, SyncTask, Task, WaitTimeoutError

ENDLESS = 3600
NAMES = ("a", "a", "b", "a#2")
LARGEST = 12  # operations of one program

programs = Service("programs")
noted = Slice("test_programs_noted", initial=0)


@noted.on("noted")
def _(state: int, payload: object) -> int:
    return state + 1


async def slowly(number: int, ms: int) -> int:
    await asyncio.sleep(ms / 1000)
    return number


def refuse(number: int) -> None:
    raise ValueError(f"refused {number}")


def insert(connection, context: int, number: int) -> int:
    connection.execute("INSERT INTO public.loaded VALUES (%s, %s)", (context, number))
    return number


@programs.task(retries=1, backoff=0.01, crashes=1_000_000)
async def perform(task: Task, body: list, flaky: bool = False) -> list:  # noqa: FBT001, FBT002 - a param
    """Do the operations; a flaky one fails at the end of its first attempt."""
    result = await together(task, body)
    if flaky and task.attempt == 1:
        raise OSError("flaky")
    return result


@programs.task(retries=1, backoff=0.01, crashes=1_000_000)
def perform_in_a_thread(task: SyncTask, body: list, flaky: bool = False) -> list:  # noqa: FBT001, FBT002 - a param
    result = [THREADED[name](task, *args) for name, *args in body]
    if flaky and task.attempt == 1:
        raise OSError("flaky")
    return result


@programs.task(crashes=1_000_000)
async def endless(task: Task) -> None:
    await asyncio.sleep(ENDLESS)


async def together(task: Task, body: list) -> list:
    return [await OPERATIONS[name](task, *args) for name, *args in body]


async def step(task, name, number, ms):
    return await task.step(name, slowly, number, ms)


async def blocking(task, name, number):
    return await task.step(name, lambda: number)


async def transaction(task, name, number):
    return await task.step(name, insert, task.context_id, number, transactional=True)


async def failing(task, name, number):
    return await task.step(name, refuse, number)


async def whole(task, name, body):
    return await task.step(name, lambda: together(task, body))


async def sub(task, body, flaky, in_a_thread):
    definition = perform_in_a_thread if in_a_thread else perform
    return await task.run(definition, {"body": body, "flaky": flaky})


async def start(task, body, between):
    subtask = await task.start(perform, {"body": body})
    return [await together(task, between), await subtask.result()]


async def mapped(task, bodies, limit):
    return await task.map(perform, [{"body": body} for body in bodies], limit=limit)


async def collected(task, bodies):
    ends = await task.map(perform, [{"body": body} for body in bodies], on_failure="collect")
    return [end.result if end.ok else "failed" for end in ends]


async def late_subtask(task):
    try:
        return await task.run(endless, timeout=0.2)
    except TimeoutError:
        return "late"


async def sleep(task, ms):
    await task.sleep(ms / 1000)


async def no_signal(task, ms):
    try:
        return await task.wait_for("never", ms / 1000)
    except WaitTimeoutError:
        return "none"


async def dispatch(task, number):
    await task.dispatch("noted", number)


async def state(task):
    return await task.state(noted)


async def clock(task):
    return await task.now() <= await task.now()


async def gather(task, bodies):
    return await asyncio.gather(*(together(task, body) for body in bodies))


async def gather_all(task, bodies, name, number):
    found = await asyncio.gather(
        *(together(task, body) for body in bodies),
        task.step(name, refuse, number),
        return_exceptions=True,
    )
    return [str(each) if isinstance(each, Exception) else each for each in found]


async def group(task, bodies):
    async with asyncio.TaskGroup() as tasks:
        begun = [tasks.create_task(together(task, body)) for body in bodies]
    return [each.result() for each in begun]


async def broken_group(task, name, number):
    """One fails; the others never end, and are cancelled."""
    try:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(task.step("endless", slowly, number, ENDLESS * 1000))
            tasks.create_task(asyncio.sleep(ENDLESS))
            tasks.create_task(task.step(name, refuse, number))
    except ExceptionGroup as errors:
        return [str(error) for error in errors.exceptions]


async def as_completed(task, bodies):
    asked = [asyncio.create_task(together(task, body)) for body in bodies]
    return sorted([await each for each in asyncio.as_completed(asked)], key=json.dumps)


async def wait(task, bodies):
    asked = [asyncio.create_task(together(task, body)) for body in bodies]
    await asyncio.wait(asked)
    return [each.result() for each in asked]


async def the_first(task, body):
    asked = [asyncio.create_task(together(task, body)), asyncio.create_task(asyncio.sleep(ENDLESS))]
    done, left = await asyncio.wait(asked, return_when=asyncio.FIRST_COMPLETED)
    for each in left:
        each.cancel()
    return [each.result() for each in done]


async def shielded(task, body):
    return await asyncio.shield(together(task, body))


async def in_time(task, body):
    async with asyncio.timeout(ENDLESS):
        return await together(task, body)


async def too_late(task, number):
    try:
        async with asyncio.timeout(0.1):
            await task.step("endless", slowly, number, ENDLESS * 1000)
    except TimeoutError:
        return "too late"


async def asked_again(task, name, number):
    """Gives a step up, and asks for one of its name again."""
    found = await too_late(task, number)
    return [found, await task.step("endless", slowly, number, 1), await task.step(name, int)]


async def beats(task, body):
    """Gives the end of a subtask up at each beat."""
    subtask = await task.start(perform, {"body": body})
    while True:
        with suppress(TimeoutError):
            return await asyncio.wait_for(subtask.result(), 0.05)


async def race(task, body):
    """A branch that gives up whatever it asks for, until the other one has won."""

    async def never() -> None:
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(0.03):
                    await task.step("cut", slowly, 0, ENDLESS * 1000)
            with suppress(TimeoutError):
                async with asyncio.timeout(0.03):
                    await task.wait_for("cut", ENDLESS)

    asked = [asyncio.create_task(never()), asyncio.create_task(together(task, body))]
    (won,), (left,) = await asyncio.wait(asked, return_when=asyncio.FIRST_COMPLETED)
    left.cancel()
    await asyncio.wait([left])
    return won.result()


async def cut(task, seconds):
    """Gives up what may be recorded by then; a later attempt must see what the first has seen."""
    seen = []
    for number, ask in enumerate(
        (
            lambda: task.step("cut", slowly, 0, 0),
            lambda: task.dispatch("cut", 0),
            lambda: task.sleep(0.01, name="cut"),
        )
    ):
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await ask()
                seen.append(number)
    return seen == await task.step("cut seen", lambda: seen)


async def caught(task, body, name, number):
    """Fails after some operations; outlives it."""
    try:
        result = await together(task, body)
        await task.step(name, refuse, number)
    except ValueError as error:
        return [result, str(error), await task.step(name, slowly, number, 1)]


OPERATIONS = {
    each.__name__: each
    for each in (
        step, blocking, transaction, whole, sub, start, mapped, collected, late_subtask, sleep,
        no_signal, dispatch, state, clock, gather, gather_all, group, broken_group, as_completed,
        wait, the_first, shielded, in_time, too_late, asked_again, beats, race, cut, caught,
    )
}  # fmt: skip
THREADED = {
    "step": lambda task, name, number, ms: task.step(name, slowly, number, ms),
    "blocking": lambda task, name, number: task.step(name, lambda: number),
    "transaction": lambda task, name, number: task.step(
        name, insert, task.context_id, number, transactional=True
    ),
    "sub": lambda task, body, flaky, _: task.run(perform, {"body": body, "flaky": flaky}),
    "sleep": lambda task, ms: task.sleep(ms / 1000),
    "dispatch": lambda task, number: task.dispatch("noted", number),
    "state": lambda task: task.state(noted),
}
ANY = tuple(OPERATIONS)
OPERATIONS["failing"] = failing  # which a program has only where it is caught
NAMED = ("blocking", "transaction", "broken_group", "asked_again")
SIDE_BY_SIDE = ("gather", "group", "as_completed", "wait")
AROUND = ("the_first", "shielded", "in_time", "race")
IN_STEPS = ("step", "blocking", "gather", "group", "caught")


class Writer:
    """Writes random programs."""

    def __init__(self, random: Random) -> None:
        self._random = random
        self._number = 0
        self._left = LARGEST

    def program(self) -> dict[str, object]:
        """The params of `perform`."""
        body = []
        while self._left > 0:
            body += self._body(ANY, 2)
        return {"body": body, "flaky": self._random.random() < 0.3}

    def _body(self, names: tuple[str, ...], depth: int, *, aside: bool = False) -> list:
        count = self._random.randint(1, 3)
        return [self._operation(names, depth, aside=aside) for _ in range(count)]

    def _operation(self, names: tuple[str, ...], depth: int, *, aside: bool) -> list:
        self._left -= 1
        name = self._random.choice(names)
        if self._left <= 0 or depth == 0 or (aside and name == "state"):
            name = self._random.choice(("step", "blocking"))
        return [name, *self._arguments(name, names, depth - 1)]

    def _arguments(self, name: str, names: tuple[str, ...], depth: int) -> list:
        def aside() -> list:
            return self._body(names, depth, aside=True)

        def alone() -> list:
            return self._body(ANY, depth)

        make = {
            "step": lambda: [self._name(), self._next(), self._one_of(0, 1, 5, 30)],
            "dispatch": lambda: [self._next()],
            "too_late": lambda: [self._next()],
            "sleep": lambda: [self._one_of(0, 20, 100)],
            "no_signal": lambda: [self._one_of(0, 20, 100)],
            "cut": lambda: [self._one_of(0, 0.001, 0.003, 0.01, 0.03)],
            "beats": lambda: [alone()],
            "whole": lambda: [self._name(), self._body(IN_STEPS, depth, aside=True)],
            "sub": lambda: self._subtask(depth),
            "start": lambda: [alone(), aside()],
            "mapped": lambda: [[alone(), alone()], self._one_of(None, 1)],
            "collected": lambda: [[alone(), [["failing", self._name(), self._next()]]]],
            "gather_all": lambda: [[aside(), aside()], self._name(), self._next()],
            "caught": lambda: [aside(), self._name(), self._next()],
            **dict.fromkeys(NAMED, lambda: [self._name(), self._next()]),
            **dict.fromkeys(SIDE_BY_SIDE, lambda: [[aside() for _ in range(self._one_of(2, 3))]]),
            **dict.fromkeys(AROUND, lambda: [aside()]),
        }
        return make[name]() if name in make else []

    def _subtask(self, depth: int) -> list:
        in_a_thread = self._random.random() < 0.4
        names = tuple(THREADED) if in_a_thread else ANY
        return [self._body(names, depth), self._random.random() < 0.3, in_a_thread]

    def _one_of(self, *values: object) -> object:
        return self._random.choice(values)

    def _name(self) -> str:
        return self._random.choice(NAMES)

    def _next(self) -> int:
        self._number += 1
        return self._number
