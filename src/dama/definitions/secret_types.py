"""Types that hide their value: no param can have one, since it would arrive as asterisks."""

from __future__ import annotations

import dataclasses
from typing import Any, get_args, get_origin, get_type_hints

from dama.shapes import is_dict


def secret_in(annotation: Any, seen: frozenset[int] = frozenset()) -> str | None:
    """The name of a secret type of pydantic within a type, however deep; None without one.

    Args:
        annotation: A type, a union, a generic, a model or a dataclass.
        seen: What was looked at on the way; types may hold themselves.
    """
    from pydantic import Secret, SecretBytes, SecretStr

    if id(annotation) in seen:
        return None
    seen |= {id(annotation)}
    kind = get_origin(annotation) or annotation
    if isinstance(kind, type) and issubclass(kind, SecretStr | SecretBytes | Secret):
        return kind.__name__
    within = (*get_args(annotation), *_fields(annotation))
    return next((found for each in within if (found := secret_in(each, seen))), None)


def _fields(annotation: Any) -> list[Any]:
    if not isinstance(annotation, type):
        return []
    kind: Any = annotation
    if is_dict(fields := getattr(kind, "model_fields", None)):
        return [field.annotation for field in fields.values()]
    if not (dataclasses.is_dataclass(kind) or hasattr(kind, "__total__")):
        return []
    try:
        return list(get_type_hints(kind).values())
    except Exception:  # noqa: BLE001 - what it names may not be there; validation says so
        return []
