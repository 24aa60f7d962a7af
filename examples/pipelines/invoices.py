"""Invoices: a program, SQL, a conversion, and a person who decides.

The rates of a day come from a program, the sums of the customers from SQL; they are converted in
Python, and readers see them when somebody says so. Who refuses, answers too late or cancels the run
leaves nothing behind.

    python -m examples.pipelines.invoices publish --day 2013-01-31
    dama signal CONTEXT approval approved=true
"""

from decimal import Decimal

from psycopg import Connection
from pydantic import BaseModel

from dama import Service, Task

invoices = Service("invoices")
rates = invoices.program(
    "rates", command=["sh", "rates.sh", "{day}"], params={"day": {"type": "string"}}, retries=2
)


class Approval(BaseModel):
    """What somebody says of the sums."""

    approved: bool
    comment: str = ""


def add_up(connection: Connection, day: str) -> list[tuple[str, str, str]]:
    """The sums of a day: customer, currency, amount."""
    query = """
        SELECT customer, currency, sum(amount)::text FROM orders WHERE day = %s
        GROUP BY customer, currency ORDER BY customer, currency
    """
    return connection.execute(query, [day]).fetchall()


def convert(sums: list[tuple[str, str, str]], rates: dict[str, str]) -> list[tuple[str, str]]:
    """The same in euros: customer, amount."""
    return [
        (customer, f"{Decimal(amount) * Decimal(rates[currency]):.2f}")
        for customer, currency, amount in sums
    ]


def draft(connection: Connection, day: str, sums: list[tuple[str, str]]) -> None:
    """Store what nobody sees yet."""
    rows = [(day, *each) for each in sums]
    connection.cursor().executemany("INSERT INTO invoices VALUES (%s, %s, %s, false)", rows)


def reveal(connection: Connection, day: str) -> int:
    """Let readers see it."""
    query = "UPDATE invoices SET published = true WHERE day = %s AND NOT published"
    return connection.execute(query, [day]).rowcount


def drop(connection: Connection, day: str) -> int:
    """Take back what nobody has seen."""
    query = "DELETE FROM invoices WHERE day = %s AND NOT published"
    return connection.execute(query, [day]).rowcount


@invoices.task
async def withdraw(task: Task, day: str) -> None:
    """Take back the draft of a day."""
    await task.transaction("drop", drop, day)


@invoices.task(on_failure=withdraw, on_cancel=withdraw)
async def publish(task: Task, day: str) -> int:
    """Make the invoices of a day, and publish them when somebody approves.

    Args:
        day: Such as 2013-01-31.
    """
    found = await task.run(rates, {"day": day})
    sums = await task.transaction("add up", add_up, day)
    await task.transaction("draft", draft, day, convert(sums, found))
    answer = await task.ask(Approval, f"Publish the invoices of {day}?", deadline="3d")
    if answer.payload.approved:
        return await task.transaction("reveal", reveal, day)
    await task.transaction("drop", drop, day)
    return 0


if __name__ == "__main__":
    invoices.main()
