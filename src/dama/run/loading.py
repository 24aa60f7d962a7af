"""Loading: rows into tables and checks of them, as steps of an async function."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from dama.data.checks import Checked, Severity, check_rows
from dama.data.copying import Copied, copy_into
from dama.run.asks import asked
from dama.run.doing import Doing
from dama.run.given import check_text
from dama.run.steps import do_step

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

_log = logging.getLogger("dama.task")


class Loading(Doing):
    """Steps for the data of a run."""

    @asked
    async def copy(
        self,
        table: str,
        source: Any,
        *,
        columns: Sequence[str] | None = None,
        bad_rows: str | None = None,
    ) -> Copied:
        """Copy rows into a table in a transaction that commits with its event: exactly once.

        Args:
            table: As SQL has it: `flights`, `etl.flights`, `"Flights"`.
            source: A list of sequences or mappings, a function that returns or yields them, a
                frame (pandas, Polars, pyarrow, DuckDB), or the path of a .csv, .tsv (with a
                header, also .gz) or .parquet file.
            columns: See `dama.data.copy_into`.
            bad_rows: A table for the rows that `table` does not take; None to fail with the first.

        Returns:
            How many rows came in, and how many did not.

        Raises:
            BadRowError: The table does not take a row; nothing was copied.
            UsageError: There is no such column, or the source cannot be read.
        """
        check_text("task.copy", "name of a table", table)
        execution = self._execution

        def copy(connection: Any) -> Copied:
            return copy_into(
                connection, table, source, columns=columns, bad_rows=bad_rows,
                context_id=execution.claim.context_id,
            )  # fmt: skip

        copied: Copied = await do_step(execution, f"copy:{table}", copy, transactional=True)
        return copied

    @asked
    async def check(
        self,
        name: str,
        expectation: str | Callable[[], Any],
        params: Mapping[str, Any] | None = None,
        *,
        severity: Severity = "fail",
    ) -> Checked:
        """Check data as a step: its event has the count and a sample of what is wrong.

        Args:
            name: Of the check.
            expectation: A query that finds what is wrong, or a function that returns it: a
                collection, a number, or whether all is well. Of pandera's errors the failure cases
                count.
            params: Of the query, which has them as `%(name)s`.
            severity: "fail" to raise when something is wrong; "warn" to log it and continue.

        Raises:
            CheckFailedError: Something is wrong, and the severity is "fail". It is checked again
                by the next attempt, and after `dama resume`.
        """
        check_text("task.check", "name of a check", name)
        execution = self._execution

        def check(connection: Any) -> Checked:
            return check_rows(connection, name, expectation, params, severity=severity)

        checked: Checked = await do_step(execution, f"check:{name}", check, transactional=True)
        if checked.count:
            _log.warning("%s: %s found, such as %s", name, checked.count, checked.sample[:1])
        return checked
