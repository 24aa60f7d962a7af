"""Awaiting: what an async function waits for by its task: a time, an event, a person."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Generic, overload

from typing_extensions import TypeVar

from dama.config.duration import optional_duration, parse_duration
from dama.definitions.form import Form
from dama.domain.event import ABSENT
from dama.run.asks import asked
from dama.run.errors import TaskUsageError, WaitTimeoutError
from dama.run.given import check_function, check_text
from dama.run.loading import Loading
from dama.run.steps import do_step
from dama.run.waits import Sought, begin, ended, opening, received, sleep
from dama.shapes import is_dict

if TYPE_CHECKING:
    from datetime import datetime

    from dama.config.duration import Duration
    from dama.run.execution import Execution

M = TypeVar("M", default=Any)


@dataclass(frozen=True)
class Answer(Generic[M]):
    """An event that a task has waited for.

    Attributes:
        type: Of the event.
        payload: In the type that was asked for; any JSON, or `ABSENT`, when none was.
        by: Who wrote it: a user, a token, a node; None when nobody said.
        event_id: Of the event.
    """

    type: str
    payload: M
    by: str | None
    event_id: int


@dataclass(frozen=True)
class Reminding:
    """When a person is reminded, and how long there is time.

    Attributes:
        deadline: Seconds from the question; None forever.
        every: Seconds between two reminders; None for none.
        does: What a reminder does; None for a line in the history.
    """

    deadline: float | None
    every: float | None
    does: Callable[[], Any] | None

    def lapses(self, asked_at: datetime, now: datetime) -> tuple[datetime | None, bool]:
        """When the wait that begins now ends by itself, and whether a reminder follows."""
        end = None if self.deadline is None else asked_at + timedelta(seconds=self.deadline)
        if self.every is None:
            return end, False
        passed = int((now - asked_at).total_seconds() // self.every)  # missed ones are left out
        due = asked_at + timedelta(seconds=self.every * (passed + 1))
        return (due, True) if end is None or due < end else (end, False)


class Awaiting(Loading):
    """The waits of a run."""

    @asked
    async def sleep(self, seconds: Duration, name: str = "sleep") -> None:
        """Let a time pass, once: a later run sleeps only for what is left of it.

        A long sleep needs no memory: the run is queued again when it is over.

        Args:
            seconds: How long: seconds, a string such as "2h", or a timedelta.
            name: Of the wait.
        """
        check_text("task.sleep", "name of the wait", name)
        await sleep(self._execution, name, parse_duration(seconds, of="task.sleep"))

    @overload
    async def wait_for(
        self,
        type_: str,
        timeout: Duration | None = None,
        *,
        where: Callable[[Any], object] | None = None,
    ) -> Any: ...

    @overload
    async def wait_for(
        self,
        type_: str,
        timeout: Duration | None = None,
        *,
        model: type[M],
        where: Callable[[M], object] | None = None,
    ) -> M: ...

    @asked
    async def wait_for(
        self,
        type_: str,
        timeout: Duration | None = None,
        *,
        model: Any = None,
        where: Callable[[Any], object] | None = None,
    ) -> Any:
        """Wait for an event that somebody else appends to this context: a signal, an approval.

        `dama signal CONTEXT TYPE name=value` is one. One that came before the wait counts; each
        ends one wait.

        Args:
            type_: The type of the event.
            timeout: From the first time the wait was reached: seconds, a string such as "3d",
                or a timedelta; None forever.
            model: The type of the payload. Who sends another one is told what does not fit.
            where: Gets the payload and says whether it is the one; others are left for other waits.
                What it has said is not asked again in a later run.

        Returns:
            Its payload; `ABSENT` when it has none.

        Raises:
            WaitTimeoutError: None came in time.
        """
        check_text("task.wait_for", "type of an event", type_)
        check_function("task.wait_for", "where", where)
        sought = Sought((type_,), Form(model) if model is not None else None, where)
        seconds = optional_duration(timeout, of="timeout")
        result = await received(self._execution, sought, seconds)
        if result is None:
            raise WaitTimeoutError(self.context_id, type_, seconds or 0)
        return sought.read(type_, result.get("payload", ABSENT))

    @overload
    async def wait_any(self, *types: str, timeout: Duration | None = None) -> Answer: ...

    @overload
    async def wait_any(
        self, *types: str, timeout: Duration | None = None, model: type[M] | Mapping[str, type[M]]
    ) -> Answer[M]: ...

    @asked
    async def wait_any(
        self, *types: str, timeout: Duration | None = None, model: Any = None
    ) -> Answer:
        """Wait for an event of one of several types; the answer says which it was, and of whom.

        Args:
            *types: The types of the event.
            timeout: As for `wait_for`.
            model: The type of the payload, as for `wait_for`; or one for each type of event, by
                its name: of one that is left out the payload is any JSON.

        Raises:
            WaitTimeoutError: None came in time.
        """
        if not types:
            raise TaskUsageError('task.wait_any needs the types of events: "approved", "rejected".')
        for type_ in types:
            check_text("task.wait_any", "types of events", type_)
        seconds = optional_duration(timeout, of="timeout")
        sought = _one_of(types, model)
        result = await received(self._execution, sought, seconds)
        if result is None:
            raise WaitTimeoutError(self.context_id, " or ".join(types), seconds or 0)
        return _answer(result, sought)

    @asked
    async def ask(
        self,
        form: type[M],
        question: str = "",
        *,
        name: str | None = None,
        deadline: Duration | None = None,
        reminder: Duration | None = None,
        on_reminder: Callable[[], Any] | None = None,
    ) -> Answer[M]:
        """Ask a person: wait for an event whose payload fits a form.

        The form is in the event that begins the wait, as a JSON schema. `dama signal CONTEXT` shows
        it, `dama signal CONTEXT NAME field=value` answers; so do HTTP and the action. An answer
        that does not fit is refused where it is given.

        Args:
            form: A model of pydantic, or another type that JSON can hold.
            question: For the person.
            name: The type of the event; by default the name of the form: "draft-approval" of
                DraftApproval.
            deadline: How long there is time: seconds, a string such as "3d", or a timedelta; None
                forever.
            reminder: How often the person is reminded until then.
            on_reminder: What a reminder does, as a step; by default it is a line in the history.

        Raises:
            WaitTimeoutError: Nobody has answered in time.
        """
        check_function("task.ask", "on_reminder", on_reminder)
        form_ = Form(form)
        sought = Sought((name or form_.name,), form_, tells=True)
        reminding = Reminding(
            optional_duration(deadline, of="deadline"),
            optional_duration(reminder, of="reminder") or None,
            on_reminder,
        )
        return await _asked(self._execution, sought, question, reminding)


def _one_of(types: tuple[str, ...], model: object) -> Sought:
    if not is_dict(model):
        return Sought(types, None if model is None else Form(model), tells=True)
    if unknown := next((type_ for type_ in model if type_ not in types), None):
        raise TaskUsageError(
            f"task.wait_any: model has {unknown!r}, but the wait is for {' or '.join(types)}."
        )
    forms = {str(type_): Form(each) for type_, each in model.items()}
    return Sought(types, tells=True, forms=forms)


async def _asked(
    execution: Execution, sought: Sought, question: str, reminding: Reminding
) -> Answer[Any]:
    (type_,) = sought.types
    payload = {**opening(sought, reminding.deadline), "question": question}
    asked_at: datetime | None = None
    while True:
        key, ask = execution.bind("wait", f"wait:{type_}")
        begun = await begin(execution, key, ask, payload)
        asked_at = asked_at or begun
        until, is_reminder = reminding.lapses(asked_at, begun)
        lapse = {"reminder": True} if is_reminder else None
        result = await ended(execution, key, ask, sought, until, lapse)
        if result is None:
            raise WaitTimeoutError(execution.claim.context_id, type_, reminding.deadline or 0)
        if "reminder" not in result:
            return _answer(result, sought)
        if reminding.does is not None:
            await do_step(execution, f"remind:{type_}", reminding.does, transactional=False)
            continue
        line = {"message": f"{type_} has not been answered. {question}".strip(), "level": "warning"}
        log_key = f"LOG/{key}"
        if log_key not in execution.journal.sent:
            with execution.pending.acting():
                await execution.writer.write(":LOG", line, key=log_key)


def _answer(result: dict[str, Any], sought: Sought) -> Answer[Any]:
    payload = sought.read(result["type"], result.get("payload", ABSENT))
    return Answer(result["type"], payload, result.get("by"), result.get("event_id", 0))
