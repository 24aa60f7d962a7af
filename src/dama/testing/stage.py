"""The stage of a test: what runs tasks on the test's own database; the fixture `dama`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from typing_extensions import TypeVar

from dama.testing.running import run, run_through_crashes

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dama.definitions.task import TaskDefinition
    from dama.testing.ran import Ran

R = TypeVar("R")


class Stage:
    """Runs tasks on one database.

    Args:
        database_url: Which; the test's own tables may be in it, too.
    """

    def __init__(self, database_url: str) -> None:
        self.database_url = database_url

    def run(
        self,
        task: TaskDefinition[R, ..., Any],
        params: Mapping[str, Any] | None = None,
        **options: Any,
    ) -> Ran[R]:
        """See `dama.testing.run`."""
        return run(task, params, database=self.database_url, **options)

    def run_through_crashes(
        self,
        task: TaskDefinition[R, ..., Any],
        params: Mapping[str, Any] | None = None,
        **options: Any,
    ) -> Ran[R]:
        """See `dama.testing.run_through_crashes`."""
        return run_through_crashes(task, params, database=self.database_url, **options)
