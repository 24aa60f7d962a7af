"""Frames: rows as a DataFrame of pandas, which only who asks for one needs."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from dama.domain.event import ABSENT
from dama.errors import DamaError
from dama.shapes import is_object

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pandas import DataFrame  # pyright: ignore[reportMissingTypeStubs]


class NoPandasError(DamaError):
    """A frame was asked for, and pandas is not there."""

    code = "NO_PANDAS"


def frame(rows: Iterable[object]) -> DataFrame:
    """Events, contexts or mappings as a frame, a row for each; what is absent is None.

    Raises:
        NoPandasError: pandas is not installed.
    """
    try:
        # Half a second and 60 MB, for who wants it.
        pandas = import_module("pandas")
    except ImportError as error:
        raise NoPandasError(
            "A frame needs pandas, which is not installed here.", "pip install pandas"
        ) from error
    return pandas.DataFrame.from_records([_record(row) for row in rows])


def _record(row: object) -> dict[str, Any]:
    if is_object(row):
        return dict(row)
    fields = getattr(row, "__struct_fields__", None) or vars(row)
    values = {name: getattr(row, name) for name in fields}
    return {name: None if value is ABSENT else value for name, value in values.items()}
