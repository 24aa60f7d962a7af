"""Data tools for tasks: rows into tables, and checks of what is there.

`Task.copy` and `Task.check` are these functions as steps; within a transaction of a step of one's
own they are called with its connection.
"""

from dama.data.checks import Checked, CheckFailedError, check_rows
from dama.data.copying import BadRowError, Copied, copy_into
from dama.store.copying import WrongRow

__all__ = [
    "BadRowError",
    "CheckFailedError",
    "Checked",
    "Copied",
    "WrongRow",
    "check_rows",
    "copy_into",
]
