"""Flights: a year of departures from New York, from the files of a package to published tables.

Two tasks. `flights.load` is the story: read it from top to bottom. It starts one
`flights.load-month` for each month, so that months are loaded side by side. Each `task.step` is
done once, however often the process dies: a step that is `transactional` writes its rows and its
event in one commit. A run works in a staging schema of its own; readers see nothing of it until
the tables are published, all in one transaction.

The parts: `source` reads the files, `staging` fills the tables, `quality` looks for bad rows,
`summary` computes the result, `publication` swaps the tables in. `rows` is a slice: state that
is folded from events. The statements longer than a line are in `sql/`.
"""

from typing import Annotated

from pydantic import Field

from dama import Service, SyncTask, Task
from examples.flights import publication, quality, source, staging
from examples.flights.rows import MonthRows, month_loaded
from examples.flights.summary import LoadSummary, summarize

flights = Service("flights")


@flights.task
async def load(
    task: Task,
    year: int = 2013,
    schema: Annotated[str, Field(pattern=r"^[a-z_][a-z0-9_]{0,30}$")] = "flights",
    damage_month: Annotated[int | None, Field(ge=1, le=12)] = None,
) -> LoadSummary:
    """Load a year of departures, check them, join them with weather and planes, publish them.

    Args:
        year: The year to load; the source has 2013.
        schema: Where the tables are published; those of an earlier load are replaced.
        damage_month: Spoil some rows of this month (1 to 12), to see how the check refuses them.
    """
    work = f"{schema}_staging_{task.context_id}"
    months = await task.step("count-months", source.count_months, year)
    await task.step("create-staging", staging.create, work, transactional=True)
    for table in staging.SMALL_TABLES:
        await task.step(f"load-{table}", staging.load_table, work, table, transactional=True)
    await task.map(
        load_month,
        [
            {"year": year, "month": m.month, "schema": work, "damaged": m.month == damage_month}
            for m in months
        ],
    )
    profile = await task.step("profile", quality.profile, work, transactional=True)
    await task.step("check", quality.check, work, months, profile, transactional=True)
    await task.step("join", staging.join, work, transactional=True)
    summary = await task.step("summarize", summarize, work, transactional=True)
    await task.step("publish", publication.publish, work, schema, transactional=True)
    await task.step("drop-staging", staging.drop, work, transactional=True)
    return summary


@flights.task(name="load-month")
def load_month(
    task: SyncTask, year: int, month: int, schema: str, *, damaged: bool = False
) -> MonthRows:
    """Load the departures of one month into the staging schema of a `flights.load`.

    Args:
        year: The year of the month.
        month: The month, 1 to 12.
        schema: The staging schema that has the table.
        damaged: Spoil some of the rows on the way.
    """
    loaded = task.step(
        "copy", staging.load_month, schema, year, month, damaged=damaged, transactional=True
    )
    task.dispatch(month_loaded(loaded))
    return loaded
