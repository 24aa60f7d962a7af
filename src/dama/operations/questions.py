"""Questions: what the task of a context waits for, and whether an event would answer it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any

from dama.definitions.errors import InvalidAnswerError
from dama.domain.event import ABSENT
from dama.domain.form import fields_of_form, problems_of

if TYPE_CHECKING:
    from dama.app import App
    from dama.domain.event import Event


@dataclass(frozen=True)
class Question:
    """What a task waits for.

    Attributes:
        types: The types of the events that would be an answer.
        asked_at: Since when.
        question: For a person; empty for other waits.
        form: What the payload must be, as a JSON schema; None for anything.
        forms: The same by the type of the event, where each has its own.
    """

    types: Sequence[str]
    asked_at: datetime
    question: str = ""
    form: Mapping[str, Any] | None = None
    forms: Mapping[str, Mapping[str, Any]] = field(default_factory=dict[str, Mapping[str, Any]])

    @property
    def fields(self) -> str:
        """What the forms ask for, on one line."""
        if self.form:
            return fields_of_form(self.form)
        return "; ".join(f"{type_}: {fields_of_form(form)}" for type_, form in self.forms.items())

    def form_of(self, type_: str) -> Mapping[str, Any] | None:
        """What the payload of an event of a type must be; None for anything."""
        return self.forms.get(type_, self.form)


async def of_context(app: App, context_id: int) -> list[Question]:
    """What the task of a context waits for now; nothing when it does not wait.

    Raises:
        UnknownContextError: There is no such context.
    """
    await app.store.context(context_id)
    return [
        _read(payload, asked_at) for payload, asked_at in await app.store.windows.waits(context_id)
    ]


async def refuse_unfit(app: App, context_id: int, event: Event) -> None:
    """Refuse an event that a task waits for with another payload.

    Raises:
        InvalidAnswerError: With all that does not fit.
    """
    waits = await app.store.windows.waits(context_id)
    asked = [_read(payload, asked_at) for payload, asked_at in waits]
    forms = [each.form_of(event.type) for each in asked if event.type in each.types]
    payload = None if event.payload is ABSENT else event.payload
    found = [problems_of(form or {}, payload) for form in forms]  # anything fits no form
    if found and all(found):
        fields = fields_of_form(forms[0] or {})
        hint = f"It has {fields}." if fields else None
        raise InvalidAnswerError(f"The event {event.type}", found[0], hint)


def _read(payload: Mapping[str, Any], asked_at: datetime) -> Question:
    types: Sequence[str] = payload.get("types") or [payload.get("type", "")]
    return Question(
        types,
        asked_at,
        str(payload.get("question", "")),
        payload.get("form"),
        payload.get("forms") or {},
    )
