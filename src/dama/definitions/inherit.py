"""What programs inherit of the worker's environment besides what all of them need."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dama.config.table import Table

# Of the worker itself: a pattern never passes them on.
ONLY_BY_NAME = frozenset(
    {"DAMA_DATABASE_URL", "PGPASSWORD", "PGSSLPASSWORD", "DAMA_BROKER_URL", "DAMA_TOKEN"}
)
_PATTERN = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\*?|\*")


def read_inherit(table: Table) -> tuple[str, ...]:
    """Read `inherit` of a declaration, or of a whole settings file.

    Raises:
        InvalidDefinitionError: It is not a list of names; the message says what is wanted.
    """
    wanted = 'a list of names of variables, such as ["PGHOST", "AWS_*"]'
    patterns = table.texts("inherit", wanted)
    for pattern in patterns:
        if not _PATTERN.fullmatch(pattern):
            table.wrong("inherit", f"{wanted}; {pattern!r} is neither a name nor NAME*")
    return patterns
