"""Origins: where a slice is defined, so that two of one name are told from one that comes again."""

from __future__ import annotations

import inspect
from dataclasses import dataclass

from dama.domain.errors import InvalidSliceError


@dataclass(frozen=True)
class Origin:
    """Where a slice is defined.

    Attributes:
        module: The name of the module.
        spec: What it was imported by: another one when it is imported again; None for a script.
        file: Of the code; of a cell, in a notebook.
        line: Of the definition.
    """

    module: str
    spec: object
    file: str
    line: int

    def refuse_another(self, name: str, earlier: Origin) -> None:
        """Let a definition come again, as by a second import, but not another one of its name."""
        if self.module != earlier.module:
            places = f"in {earlier.module} and in {self.module}"
        elif self.spec is earlier.spec and self._is_beside(earlier):
            places = f"in {self.module}, in lines {earlier.line} and {self.line}"
        else:
            return
        raise InvalidSliceError(f"There are two slices named {name!r}: {places}. Rename one.")

    def _is_beside(self, earlier: Origin) -> bool:
        typed_in = self.file.startswith("<")  # at a prompt, where any line can be given again
        return self.file == earlier.file and self.line != earlier.line and not typed_in


def caller(beneath: str) -> Origin:
    """Where the nearest caller outside of the module `beneath` is."""
    frame = inspect.currentframe()
    while frame is not None and frame.f_globals.get("__name__") in {__name__, beneath}:
        frame = frame.f_back
    if frame is None:
        return Origin("", None, "", 0)
    known = frame.f_globals
    module = str(known.get("__name__", ""))
    return Origin(module, known.get("__spec__"), frame.f_code.co_filename, frame.f_lineno)
