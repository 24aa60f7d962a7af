"""The service `tables`: where the rows of tables come from."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field

from dama.definitions.service import Service
from dama.domain.exact import document
from dama.operations import lineage as verbs

if TYPE_CHECKING:
    from dama.app import App
    from dama.broker.call import Call


def tables_service(app: App) -> Service:
    """Make the service `tables`."""
    service = Service("tables", description="Show where the rows of tables come from.")

    @service.action(scope="viewer", rest="GET /:table/lineage")
    async def lineage(
        call: Call, table: str, last: Annotated[int, Field(ge=1, le=verbs.MOST)] = 1
    ) -> Any:
        """Show who wrote a table, from what, and whether it is fresh.

        Args:
            table: Its name as a step or a task says it, such as mart.orders.
            last: How many of its writes, the latest first.
        """
        return document(await verbs.read(app, table, most=last))

    return service
