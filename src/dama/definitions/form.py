"""Forms: what a task asks for, by a type of the user's; in an event it is a JSON schema."""

from __future__ import annotations

import re
from functools import cached_property
from typing import TYPE_CHECKING, Any

from dama.definitions.errors import InvalidAnswerError
from dama.definitions.secret_types import secret_in
from dama.domain.event import ABSENT
from dama.domain.form import fields_of_form
from dama.errors import InvalidDefinitionError

if TYPE_CHECKING:
    from pydantic import TypeAdapter

_HUMP = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")


class Form:
    """What a payload must be.

    Args:
        type_: A model of pydantic, a dataclass, or any type that JSON can hold.
    """

    def __init__(self, type_: Any) -> None:
        self.type = type_

    @property
    def name(self) -> str:
        """The name of the type, such as `draft-approval` of DraftApproval."""
        return _HUMP.sub("-", getattr(self.type, "__name__", "answer")).lower()

    @cached_property
    def schema(self) -> dict[str, Any]:
        """The JSON schema; `x-order` has the order of its fields, which the database does not keep.

        Raises:
            InvalidDefinitionError: It is not a type that JSON can hold.
        """
        schema = self._adapter.json_schema()
        return {**schema, "x-order": [*schema.get("properties", ())]}

    def read(self, what: str, payload: object) -> Any:
        """A payload in the type.

        Raises:
            InvalidAnswerError: It does not fit.
        """
        from pydantic import ValidationError
        from pydantic_core import to_json

        try:
            given = None if payload is ABSENT else payload
            return self._adapter.validate_json(to_json(given, fallback=repr))
        except ValidationError as error:
            problems = [
                f"{'.'.join(map(str, found['loc'])) or 'it'}: {found['msg']}"
                for found in error.errors(include_url=False)
            ]
            raise InvalidAnswerError(what, problems, f"It has {self.fields}.") from None

    @property
    def fields(self) -> str:
        """What it asks for, on one line."""
        return fields_of_form(self.schema) or str(self.schema.get("type", "any JSON"))

    @cached_property
    def _adapter(self) -> TypeAdapter[Any]:
        from pydantic import TypeAdapter

        if kind := secret_in(self.type):
            raise InvalidDefinitionError(
                f"The form {self.name} has a {kind}, and answers are stored.",
                "Ask for secrets where they are used, not in an event.",
            )
        try:
            return TypeAdapter(self.type)
        except Exception as error:
            raise InvalidDefinitionError(
                f"{self.type!r} cannot be a form: {error}", "Use a model of pydantic."
            ) from error
