"""Cases of a table that one test goes through, on one database and one gateway."""

from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def case(*values: object) -> Iterator[None]:
    """What fails within says which case it was."""
    try:
        yield
    except Exception as error:
        error.add_note(f"case: {', '.join(f'{value!r:.200}' for value in values)}")
        raise
