"""Quality: what a run knows about its rows before anybody else sees them.

`profile` describes the rows of each month; `check` refuses them where they break a rule. The last
rule is the primary key that `staging.join` puts on the table departures.
"""

from dataclasses import dataclass

from psycopg import Connection
from psycopg.rows import class_row
from typing_extensions import override

from examples.flights.rows import MonthRows
from examples.flights.staging import enter, statement


@dataclass(frozen=True)
class MonthProfile:
    """The rows of one month: how many, what is missing, how far the values reach.

    Attributes:
        month: 1 to 12.
        rows: All departures.
        no_dep_time: Those that never left.
        no_arr_delay: Those that never arrived where they should.
        no_tailnum: Those whose plane is not known.
        first_hour: The earliest scheduled hour, ISO 8601 in UTC.
        last_hour: The latest.
        least_dep_delay: In minutes; negative is early.
        most_dep_delay: In minutes.
        least_distance: In miles.
        most_distance: In miles.
    """

    month: int
    rows: int
    no_dep_time: int
    no_arr_delay: int
    no_tailnum: int
    first_hour: str
    last_hour: str
    least_dep_delay: int | None
    most_dep_delay: int | None
    least_distance: int
    most_distance: int


@dataclass(frozen=True)
class Finding:
    """Rows of one month that break one rule.

    Attributes:
        month: 1 to 12.
        rule: What must hold.
        rows: How many rows break it.
        examples: Up to three of them, in words.
    """

    month: int
    rule: str
    rows: int
    examples: list[str]

    @override
    def __str__(self) -> str:
        """One line: where, which rule, how often, and what it looks like."""
        such_as = f", such as {'; '.join(self.examples)}" if self.examples else ""
        return f"month {self.month}: not every row keeps '{self.rule}': {self.rows} rows{such_as}"


class BadRowsError(Exception):
    """Rows of the source break a rule; nothing was published."""

    def __init__(self, schema: str, findings: list[Finding]) -> None:
        self.findings = findings
        lines = "".join(f"\n  {finding}" for finding in findings)
        super().__init__(
            f"The departures are not fit to be published:{lines}\n"
            f"Correct them in {schema}.flights and resume the run: it continues with this check, "
            "and loads nothing twice."
        )


def profile(conn: Connection, schema: str) -> list[MonthProfile]:
    """Describe the rows of each month."""
    enter(conn, schema)
    with conn.cursor(row_factory=class_row(MonthProfile)) as cursor:
        return cursor.execute(statement("profile_flights")).fetchall()


def check(
    conn: Connection, schema: str, expected: list[MonthRows], found: list[MonthProfile]
) -> int:
    """Hold the rows against the counts of the source and against the rules.

    Returns:
        How many rows are good: all of them.

    Raises:
        BadRowsError: Some are not.
    """
    enter(conn, schema)
    rows = {month.month: month.rows for month in found}
    findings = [
        Finding(month.month, f"the source has {month.rows} rows", rows.get(month.month, 0), [])
        for month in expected
        if rows.get(month.month) != month.rows
    ]
    with conn.cursor(row_factory=class_row(Finding)) as cursor:
        findings += cursor.execute(statement("find_bad_rows")).fetchall()
    if findings:
        raise BadRowsError(schema, findings)
    return sum(rows.values())
