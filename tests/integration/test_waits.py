"""Waits: for one of several events, for one that fits, for a person; and for what was before."""

import asyncio
from datetime import date, timedelta
from typing import Literal

import psycopg
import pytest
from pydantic import BaseModel, Field

import dama
from dama import Answer, Service, Slice, SyncTask, Task, WaitTimeoutError
from dama.definitions.errors import InvalidAnswerError
from dama.domain.form import problems_of
from dama.testing import databases, run, run_through_crashes
from dama.testing.stage import Stage

waits = Service("waits")
moved = Slice("waits_moved", initial=0)
reminded: list[int] = []


class Approval(BaseModel):
    """Whether to publish."""

    approved: bool
    comment: str = Field("", max_length=20)
    on: date | None = None
    kind: Literal["full", "partial"] = "full"


@moved.reducer
def moved_to(_: int, page: int) -> int:
    """Take it."""
    return page


@waits.task
async def either(task: Task) -> list[object]:
    """One of two."""
    answer = await task.wait_any("approved", "rejected", timeout="3d")
    return [answer.type, answer.payload, answer.by is not None, answer.event_id > 0]


@waits.task
def either_blocking(task: SyncTask) -> str:
    """The same, of a def."""
    return task.wait_any("approved", "rejected").type


class Refusal(BaseModel):
    """Why not."""

    why: str


@waits.task
async def either_typed(task: Task) -> str:
    """One of three, two of which have a type."""
    models = {"approved": Approval, "rejected": Refusal}
    answer = await task.wait_any("approved", "rejected", "later", model=models)
    return f"{answer.type} {answer.payload!r}"


@waits.task
def either_typed_blocking(task: SyncTask) -> str:
    """The same type for all, of a def."""
    return task.wait_any("rejected", "later", model=Refusal).payload.why


@waits.task
async def either_mistyped(task: Task) -> None:
    """A model of an event that it does not wait for."""
    await task.wait_any("approved", model={"aproved": Approval})


@waits.task
async def any_or_typed(task: Task) -> list[object]:
    """Two waits for one type of event, of which only one has a form."""
    either = task.wait_any("row", "end", model={"row": Refusal})
    return [*await asyncio.gather(task.wait_for("row"), either)][:1]


@waits.task
async def fitting(task: Task) -> list[int]:
    """Takes what fits first, and the others in their order."""
    big = await task.wait_for("row", where=lambda row: row["n"] > 10)
    return [big["n"], (await task.wait_for("row"))["n"], (await task.wait_for("row"))["n"]]


@waits.task
async def typed(task: Task) -> str:
    """A payload of a type."""
    answer = await task.wait_for("approval", model=Approval, where=lambda each: each.approved)
    return f"{type(answer).__name__} {answer.on:%d.%m.} {answer.comment}"


@waits.task
async def asking(task: Task) -> list[object]:
    """A person."""
    answer: Answer[Approval] = await task.ask(
        Approval, "Publish?", deadline="3d", reminder="1d", on_reminder=remind
    )
    return [answer.payload.approved, answer.payload.kind, answer.by is not None]


@waits.task
def asking_blocking(task: SyncTask) -> bool:
    """The same, of a def."""
    return task.ask(Approval, name="consent").payload.approved


@waits.task
async def four_eyes(task: Task) -> list[bool]:
    """Two answers."""
    return [(await task.ask(Approval)).payload.approved for _ in range(2)]


def remind() -> None:
    """What a reminder does."""
    reminded.append(1)


@pytest.fixture(autouse=True)
def _none_reminded():
    reminded.clear()


@pytest.fixture
def stage():
    """A database of the test's own."""
    url = databases.make()
    yield Stage(url)
    databases.drop(url)


def test_one_of_several_events_ends_the_wait_and_says_which():
    ran = run(either, signals={"rejected": {"why": "empty"}})
    assert ran.result == ["rejected", {"why": "empty"}, True, True]
    assert ran.steps == ["wait:approved|rejected"]
    (done,) = ran.payloads("wait:approved|rejected:DONE")
    assert isinstance(done, dict)
    assert done["by"]
    assert run(either_blocking, signals={"approved": None}).result == "approved"
    assert run_through_crashes(either, signals={"approved": 1}).result[:2] == ["approved", 1]
    late = run(either, advance="4d")
    assert late.error is not None
    assert "approved or rejected" in late.error["message"]


@pytest.mark.parametrize(
    ("task", "answer", "result"),
    [
        (either_typed, {"rejected": {"why": "empty"}}, "rejected Refusal(why='empty')"),
        (either_typed, {"later": [1]}, "later [1]"),
        (either_typed_blocking, {"later": {"why": "tired"}}, "tired"),
    ],
)
def test_the_payload_of_one_of_several_events_has_the_type_of_its_event(task, answer, result):
    assert run_through_crashes(task, signals=answer).result == result


def test_an_answer_that_does_not_fit_the_type_of_its_event_is_refused_where_it_is_given():
    for answer in ({"rejected": {"approved": True}}, {"approved": {"why": "full"}}):
        with pytest.raises(InvalidAnswerError, match=f"The event {next(iter(answer))}"):
            run(either_typed, signals=answer)
    mistaken = run(either_mistyped).error
    assert mistaken is not None
    assert "model has 'aproved', but the wait is for approved" in mistaken["message"]


def test_an_answer_without_a_form_is_taken_by_the_wait_that_has_none():
    signals = [("row", 1), ("end", None)]
    assert run(any_or_typed, signals=signals).result == [1]


def test_what_does_not_fit_is_left_for_other_waits():
    signals = [("row", {"n": 1}), ("row", {"n": 2}), ("row", {"n": 11})]
    ran = run_through_crashes(fitting, signals=signals)
    assert ran.result == [11, 1, 2]


def test_a_payload_of_a_type_is_checked_before_it_is_an_event():
    answer = {"approved": True, "on": "2013-05-01", "comment": "ok"}
    ran = run_through_crashes(typed, signals={"approval": answer})
    assert ran.result == "Approval 01.05. ok"
    refused = [("approval", {"approved": False}), ("approval", answer)]
    assert run(typed, signals=refused).result == "Approval 01.05. ok"
    with pytest.raises(InvalidAnswerError, match=r"approved is required") as raised:
        run(typed, signals={"approval": {"aproved": True}})
    assert "approved (boolean)" in str(raised.value.hint)


def test_a_person_answers_a_form_that_is_in_the_event():
    ran = run(asking, signals={"approval": {"approved": True}})
    assert ran.result == [True, "full", True]
    (waiting,) = ran.payloads("wait:approval:WAITING")
    assert isinstance(waiting, dict)
    assert waiting["question"] == "Publish?"
    assert waiting["form"]["properties"]["approved"]["type"] == "boolean"
    assert run(asking_blocking, signals={"consent": {"approved": False}}).result is False
    twice = [("approval", {"approved": True}), ("approval", {"approved": False})]
    assert run_through_crashes(four_eyes, signals=twice).result == [True, False]


def test_a_person_is_reminded_until_the_deadline():
    ran = run(asking, advance="10d")
    assert ran.error is not None
    assert ran.error["name"] == WaitTimeoutError.__name__
    assert len(reminded) == 2
    assert [name for name in ran.steps if name.startswith("remind")] == [
        "remind:approval",
        "remind:approval#2",
    ]
    reminded.clear()
    ran = run(asking, advance="1.5d", crash_after=["wait:approval", "remind:approval"])
    assert (ran.status, len(reminded), ran.waits) == ("OPEN", 1, ["wait:approval#2"])


def test_an_answer_that_came_by_the_database_is_checked_by_the_task(stage):
    """It is told in a line, and does not end the wait."""

    @waits.task(name="unchecked")
    async def unchecked(task: Task) -> bool:
        await task.step("answer", answer_badly, task.context_id)
        return (await task.ask(Approval)).payload.approved

    def answer_badly(context_id: int) -> None:
        with psycopg.connect(stage.database_url) as connection:
            connection.execute(
                "SELECT _data_manager_admin.dispatch(%s, 'approval', '{\"approved\": \"so so\"}')",
                [context_id],
            )

    ran = stage.run(unchecked, signals={"approval": {"approved": True}})
    assert ran.result is True
    (line,) = ran.payloads("LOG")
    assert "approved" in line["message"]
    assert line["level"] == "warning"


@waits.task
async def pages(task: Task, airport: str = "JFK", *, fails: bool = False) -> list[int]:
    """Loads from where the last run ended."""
    begun = await task.previous(moved, key="{airport}")
    await task.dispatch(moved_to(begun + 2))
    again = await task.previous(moved, key="{airport}")
    if fails:
        raise ValueError("later")
    return [begun, again]


@waits.task
def pages_blocking(task: SyncTask) -> int:
    """The same, of a def, over all runs."""
    begun = task.previous(moved)
    task.dispatch(moved_to(begun + 1))
    return begun


def test_a_run_reads_the_state_at_the_end_of_the_last_one_with_its_key(stage):
    assert stage.run(pages, {"airport": "LGA"}).result == [0, 0]
    assert stage.run(pages).result == [0, 0]
    assert stage.run(pages, crash_after=["previous:waits_moved", "waits_moved/*"]).result == [2, 2]
    assert stage.run(pages, {"fails": True}).status == "ERROR"
    assert stage.run(pages).result == [6, 6]
    assert stage.run(pages, {"airport": "LGA"}).result == [2, 2]
    assert [stage.run(pages_blocking).result for _ in range(3)] == [0, 1, 2]


def test_a_run_that_never_started_is_no_last_run(stage):
    assert stage.run(pages).result == [0, 0]
    with dama.connect(stage.database_url) as client:
        client.start(pages, airport="JFK").cancel("wrong airport")
    assert stage.run(pages).result == [2, 2]


def test_a_run_that_found_nothing_keeps_the_cursor(stage):
    @waits.task(name="maybe")
    async def maybe(task: Task, airport: str = "JFK", by: int = 0) -> int:
        begun = await task.previous(moved, key="{airport}")
        if by:
            await task.dispatch(moved_to(begun + by))
        return begun

    assert stage.run(maybe, {"by": 3}).result == 0
    assert [stage.run(maybe).result for _ in range(3)] == [3, 3, 3]
    assert stage.run(maybe, {"by": -3}).result == 3  # back to the initial state, which counts
    assert stage.run(maybe, {"airport": "LGA", "by": 9}).result == 0
    assert [stage.run(maybe).result for _ in range(2)] == [0, 0]
    assert stage.run(maybe, {"airport": "LGA"}).result == 9


def test_of_a_slice_that_chooses_by_a_function_every_run_counts(stage):
    chosen = dama.Slice("waits_chosen", initial=0)

    @chosen.on_match(lambda event: event.type == moved_to.type)
    def count(state: int, event: object) -> int:
        return state + 1

    @waits.task(name="chosen")
    async def choose(task: Task, *, dispatches: bool = False) -> int:
        if dispatches:
            await task.dispatch(moved_to(1))
        return await task.previous(chosen)

    results = [stage.run(choose, {"dispatches": each}).result for each in (True, False, False)]
    assert results == [0, 1, 0]


def test_a_key_names_params_of_the_task(stage):
    @waits.task(name="wrong-key")
    async def wrong_key(task: Task, airport: str) -> int:
        return await task.previous(moved, key="{airprt}")

    error = stage.run(wrong_key, {"airport": "JFK"}).error
    assert error is not None
    assert "airprt" in error["message"]


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ({"approved": True}, []),
        ({"approved": 1}, ["approved should be a boolean, but is 1"]),
        ({"approved": True, "on": "May"}, ["on should be a date, but is 'May'"]),
        ({"approved": True, "on": None, "comment": "x" * 21}, ["comment has 21 characters"]),
        ({"approved": True, "kind": "half"}, ["kind should be 'full' or 'partial'"]),
        ([], ["it should be an object, but is []"]),
        ({}, ["approved is required"]),
    ],
)
def test_a_form_says_what_does_not_fit(value, words):
    found = problems_of(Approval.model_json_schema(), value)
    assert len(found) == len(words)
    assert all(each.startswith(word) for each, word in zip(found, words, strict=True))


class Row(BaseModel, extra="forbid"):
    """A row."""

    n: int = Field(ge=1, lt=10)
    parts: list["Row"] = Field([], max_length=1)
    weight: float | str | None = None


@pytest.mark.parametrize(
    ("value", "word"),
    [
        ({"n": 1, "parts": [{"n": 2}], "weight": 1.5}, ""),
        ({"n": 10}, "n should be less than 10"),
        ({"n": 0}, "n should be at least 1"),
        ({"n": True}, "n should be an integer"),
        ({"n": 1, "m": 2}, "m is not part of it"),
        ({"n": 1, "parts": [{"n": "2"}]}, "parts[0].n should be an integer"),
        ({"n": 1, "parts": [{"n": 1}, {"n": 2}]}, "parts has 2 items; 1 at most"),
        ({"n": 1, "weight": []}, "weight should be a number or a string"),
    ],
)
def test_a_form_is_checked_within(value, word):
    found = problems_of(Row.model_json_schema(), value)
    assert bool(found) == bool(word)
    assert not word or found[0].startswith(word)


def test_the_last_run_counts_when_it_is_archived(stage):
    """A cursor does not begin again because somebody keeps house."""
    assert [stage.run(pages_blocking).result for _ in range(2)] == [0, 1]

    async def archive() -> int:
        async with databases.opened(stage.database_url) as store:
            await store.log.position()
            return sum([each.contexts async for each in store.archive.add(timedelta(0))])

    assert databases.thread().answer(archive()) == 2
    assert stage.run(pages_blocking).result == 2
