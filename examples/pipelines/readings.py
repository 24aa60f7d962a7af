"""Readings: what an API has got since the last run, page by page, each reading once.

The cursor is folded from the events of the steps that stored a page. Such an event is committed
together with the rows, so the cursor cannot be behind or ahead of the table.

    python -m examples.pipelines.readings load --url https://api.example.org/readings
"""

import json
from http import HTTPStatus
from urllib.error import HTTPError
from urllib.request import urlopen

from psycopg import Connection

from dama import Event, Retry, Service, Slice, SyncTask, step

readings = Service("readings")
cursor = Slice("readings_cursor", initial=0)


@cursor.reducer
def begun(_: int, last: int) -> int:
    """Where a run begins: the next one begins there, too, when this one finds nothing."""
    return last


@cursor.on_match(lambda event: event.type.startswith("readings.load/store"))
def stored(last: int, event: Event) -> int:
    """A page was stored."""
    return event.payload if event.type.endswith(":DONE") else last


@step(retries=5, backoff="2s", retry_on=OSError)
def fetch(url: str, after: int) -> list[tuple[int, float]]:
    """Fetch the next page, empty at the end."""
    try:
        with urlopen(f"{url}?after={after}", timeout=60) as answer:  # noqa: S310 - the operator's
            return json.load(answer)
    except HTTPError as error:
        error.close()
        if error.code == HTTPStatus.TOO_MANY_REQUESTS:
            raise Retry(
                "The API is busy.", after=float(error.headers.get("Retry-After", 60))
            ) from error
        raise


def create(connection: Connection) -> None:
    """Make the table."""
    connection.execute(
        "CREATE TABLE IF NOT EXISTS readings (reading_id bigint PRIMARY KEY, degrees float)"
    )


def store(connection: Connection, rows: list[tuple[int, float]]) -> int:
    """Store a page; returns the last reading of it."""
    connection.cursor().executemany("INSERT INTO readings VALUES (%s, %s)", rows)
    return rows[-1][0]


@readings.task(singleton="queue", concurrency_key="{url}")
def load(task: SyncTask, url: str) -> int:
    """Load what came since the last run.

    Args:
        url: Of the API; it takes `after`, the last reading that is known.
    """
    task.transaction("create", create)
    last, count = task.previous(cursor, key="{url}"), 0
    task.dispatch(begun(last))
    while rows := fetch(url, last):
        last = task.transaction("store", store, rows)
        count += len(rows)
    return count


if __name__ == "__main__":
    readings.main()
