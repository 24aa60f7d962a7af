"""What a slice calls is its author's: what that raises names the slice, and is no bug of dama."""

from __future__ import annotations

from contextlib import contextmanager
from traceback import walk_tb
from typing import TYPE_CHECKING, Any

from dama.domain.errors import ReducerError
from dama.domain.exact import document
from dama.domain.slice import Slice
from dama.errors import DamaError

if TYPE_CHECKING:
    from collections.abc import Generator

_SLICE: type[Slice[Any]] = Slice
_CALLERS = {
    function.__code__
    for function in (_SLICE.fold, _SLICE.reduce, _SLICE.encode_state, _SLICE.decode_state, document)
}


@contextmanager
def named(slice_: Slice[Any]) -> Generator[None]:
    """Fold a slice, and show its state.

    Raises:
        ReducerError: One of its functions raised, or its state is none that JSON can hold.
    """
    try:
        yield
    except DamaError:
        raise
    except Exception as error:
        if not any(frame.f_code in _CALLERS for frame, _ in walk_tb(error.__traceback__)):
            raise
        raise ReducerError(
            f"The slice {slice_.name} cannot be folded here: {type(error).__name__}: {error}",
            "It is raised by a reducer of the slice, or by what makes JSON of its state: correct "
            "that, or choose other slices.",
        ) from error
