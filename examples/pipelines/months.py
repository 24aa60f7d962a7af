"""Months: a folder of CSV files, each loaded by a subtask of its own; those that fail are named.

A file that was corrected is loaded by the next run: a month replaces what there was of it.

    python -m examples.pipelines.months load --folder /data/sales
"""

from pathlib import Path

from psycopg import Connection
from pydantic import BaseModel

from dama import Service, Task

months = Service("months")


class Loaded(BaseModel):
    """What became of the files."""

    rows: int
    failed: dict[str, str]


def create(connection: Connection) -> None:
    """Make the table."""
    connection.execute("CREATE TABLE IF NOT EXISTS sales (month text, day date, amount numeric)")


def list_files(folder: str) -> list[str]:
    """The files of a folder, a month each."""
    return sorted(str(path) for path in Path(folder).glob("*.csv"))


def replace(connection: Connection, file: str) -> int:
    """Load a file in the place of what was loaded of its month; returns its rows."""
    connection.execute("DELETE FROM sales WHERE month = %s", [Path(file).stem])
    with connection.cursor() as cursor:
        with cursor.copy("COPY sales FROM STDIN (FORMAT csv, HEADER)") as copy:
            copy.write(Path(file).read_bytes())
        return cursor.rowcount


@months.task(retries=1, backoff="10s")
async def load_month(task: Task, file: str) -> int:
    """Load a month."""
    return await task.transaction("replace", replace, file)


@months.task
async def load(task: Task, folder: str) -> Loaded:
    """Load all months of a folder, six at a time.

    Args:
        folder: Where the files are, one a month.
    """
    await task.transaction("create", create)
    files = await task.step("list", list_files, folder)
    params = [{"file": file} for file in files]
    ends = await task.map(load_month, params, on_failure="collect", limit=6)
    errors = {
        Path(file).stem: str(end.error) for file, end in zip(files, ends, strict=True) if end.error
    }
    return Loaded(rows=sum(end.result or 0 for end in ends), failed=errors)


if __name__ == "__main__":
    months.main()
