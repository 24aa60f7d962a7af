"""Approval: a table that readers see when a person says so.

`approval.publish` loads a draft and waits, for days if need be: a long wait is parked and costs a
row. The answer is an event, from any terminal or program that reaches the database:

    dama run approval.publish --detach
    dama emit CONTEXT approval --payload '{"approved": true, "by": "ann"}'

A refusal, or none who answers in time, takes back what was loaded: each step that did something
has one that undoes it. Docs: docs/howto/approvals.md.
"""

from typing import Annotated

from psycopg import Connection
from psycopg.sql import SQL, Identifier
from pydantic import BaseModel, Field, ValidationError

from dama import Service, Task, WaitTimeoutError, step

approval = Service("approval")

FARES = [("inner", 2.9), ("outer", 4.1), ("airport", 10.5)]


class Answer(BaseModel):
    """What somebody says of a draft."""

    approved: bool
    by: str
    why: str = ""


class Publication(BaseModel):
    """What became of a draft."""

    rows: int
    published: bool
    by: str
    why: str


@approval.task
async def publish(
    task: Task, days: Annotated[float, Field(gt=0)] = 3, *, raised: bool = False
) -> Publication:
    """Load a table of fares, and publish it when somebody approves it.

    Args:
        days: How long an answer is waited for.
        raised: Load fares that are higher by a tenth.
    """
    draft = f"fares_draft_{task.context_id}"
    rows = await task.step("load", load, draft, 1.1 if raised else 1.0, transactional=True)
    answer = await answered(task, days)
    if answer.approved:
        await task.step("publish", replace, draft, transactional=True)
    else:
        await task.step("withdraw", drop, draft, transactional=True)
    return Publication(rows=rows, published=answer.approved, by=answer.by, why=answer.why)


async def answered(task: Task, days: float) -> Answer:
    """The first event that is an answer; no answer in time is a refusal."""
    while True:
        try:
            return Answer.model_validate(await task.wait_for("approval", timeout=days * 86400))
        except WaitTimeoutError:
            return Answer(approved=False, by="nobody", why=f"no answer in {days:g} days")
        except ValidationError as error:
            await task.log(f"That was no answer, and another one is waited for: {error}")


def load(connection: Connection, draft: str, factor: float) -> int:
    """Make the draft; nobody reads it yet."""
    connection.execute("CREATE SCHEMA IF NOT EXISTS approval")
    table = Identifier("approval", draft)
    connection.execute(SQL("CREATE TABLE {} (zone text PRIMARY KEY, fare numeric)").format(table))
    with connection.cursor().copy(SQL("COPY {} FROM STDIN").format(table)) as copy:
        for zone, fare in FARES:
            copy.write_row([zone, round(fare * factor, 2)])
    return len(FARES)


@step(retries=1)  # another publication may make the first table between the two statements
def replace(connection: Connection, draft: str) -> None:
    """Let the draft take the place of the fares that readers see."""
    connection.execute("DROP TABLE IF EXISTS approval.fares")
    table = Identifier("approval", draft)
    connection.execute(SQL("ALTER TABLE {} RENAME TO fares").format(table))


def drop(connection: Connection, draft: str) -> None:
    """Undo the load."""
    connection.execute(SQL("DROP TABLE {}").format(Identifier("approval", draft)))


if __name__ == "__main__":
    approval.main()
