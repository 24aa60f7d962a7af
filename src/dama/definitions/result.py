"""Results: what a task or a step returns, as JSON and back, by the function's return annotation.

Without an annotation the result is plain JSON: a dataclass is kept, and comes back as a dict.
pydantic is imported with the first result, not before.
"""

from __future__ import annotations

from contextlib import suppress
from functools import cache, cached_property
from typing import TYPE_CHECKING, Any, Generic, TypeVar
from weakref import WeakKeyDictionary

from dama.definitions.errors import InvalidResultError
from dama.definitions.signature import annotations_of, read_signature

if TYPE_CHECKING:
    from collections.abc import Callable

    from pydantic import TypeAdapter

R = TypeVar("R")

# An adapter costs as much as a whole step; the functions of steps come again and again.
_adapters: WeakKeyDictionary[Callable[..., object], TypeAdapter[Any]] = WeakKeyDictionary()


class ResultType(Generic[R]):
    """The type that a function promises, and how its values are kept.

    Args:
        owner: Whose result it is, for the errors: `flights.load` or `flights.load/check`.
        function: Its return annotation counts; that of an `async def` is what it awaits to.
    """

    def __init__(self, owner: str, function: Callable[..., object]) -> None:
        self._owner = owner
        self._function = function

    @cached_property
    def adapter(self) -> TypeAdapter[R]:
        """The adapter that pydantic has for the type.

        Raises:
            InvalidDefinitionError: The annotation cannot be evaluated.
            InvalidResultError: It is not a type that JSON can hold.
        """
        with suppress(KeyError, TypeError):  # not every callable can be referred to weakly
            return _adapters[self._function]
        annotation = _annotation(self._owner, self._function)
        try:
            adapter = _plain() if annotation is Any else _adapter_of(annotation)
        except Exception as error:
            raise self._unfit(f"is of a type that cannot be kept as JSON: {error}") from error
        with suppress(TypeError):
            _adapters[self._function] = adapter
        return adapter

    def encode(self, value: R) -> object:
        """Turn a result into JSON builtins, which come back as what it was.

        Raises:
            InvalidResultError: It is not what the annotation promises, not JSON, or would come back
                as something else: the path to it is named.
        """
        from dama.definitions import kept

        adapter = self.adapter
        encoded: object = kept.without_foreign_scalars(value)
        if adapter is not _plain() or not kept.is_json(encoded):
            encoded = kept.with_digits(value, self._dumped(encoded))
        if flaw := kept.flaw_of_result(value, encoded, self.decode):
            raise self._unfit(f"cannot be kept: {flaw}")
        return encoded

    def _dumped(self, value: Any) -> object:
        from pydantic_core import PydanticSerializationError, to_jsonable_python

        try:
            return self.adapter.dump_python(value, mode="json", warnings="error")
        except PydanticSerializationError:
            pass  # not exactly the type: a tuple for a list, a subclass; or wrong
        except Exception as error:  # noqa: BLE001 - a class that writes itself may raise anything
            raise self._not_json(value, error) from None
        try:
            plain = to_jsonable_python(value)
        except Exception as error:  # noqa: BLE001 - as above
            raise self._not_json(value, error) from None
        return self.adapter.dump_python(self.decode(plain), mode="json")

    def decode(self, value: object) -> R:
        """Turn JSON builtins back into the type.

        Raises:
            InvalidResultError: They do not fit it: the code has changed since, or was wrong.
        """
        from pydantic import ValidationError
        from pydantic_core import to_json

        if self.adapter is _plain():
            from dama.definitions import kept

            return kept.as_read(value)
        try:
            # As JSON and not as Python: strict models take a list for a tuple only there.
            return self.adapter.validate_json(to_json(value, fallback=repr))
        except ValidationError as error:
            problems = "; ".join(
                f"{'.'.join(map(str, e['loc'])) or 'it'}: {e['msg']}"
                for e in error.errors(include_url=False)
            )
            raise self._unfit(f"is not what its annotation says: {problems}") from None

    def _not_json(self, value: object, error: Exception) -> InvalidResultError:
        from dama.definitions import kept

        how = kept.flaw_of_result(value, value) or str(error)
        return self._unfit(f"cannot be kept as JSON: {how}")

    def _unfit(self, how: str) -> InvalidResultError:
        return InvalidResultError(f"The result of {self._owner} {how.removesuffix('.')}.")


def _adapter_of(annotation: Any) -> TypeAdapter[Any]:
    from pydantic import TypeAdapter

    return TypeAdapter(annotation)


@cache
def _plain() -> TypeAdapter[Any]:
    """The adapter of what has no annotation, such as a lambda."""
    return _adapter_of(Any)


def _annotation(owner: str, function: Callable[..., object]) -> Any:
    try:
        annotation = read_signature(function).return_annotation
    except ValueError:  # a built-in, such as time.sleep, has none
        return Any
    return annotations_of(owner, function, {"return": annotation}).get("return", Any)
