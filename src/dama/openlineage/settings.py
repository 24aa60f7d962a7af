"""Settings of OpenLineage: `[openlineage]` of the settings file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any

from dama.config.table import Table

if TYPE_CHECKING:
    from dama.config.config import Config

NAMESPACE = "dama"
TRANSPORT = (
    'Write transport = { type = "http", url = "http://127.0.0.1:5000" }, or type = "file" with '
    'log_file_path, or type = "console".'
)


@dataclass(frozen=True)
class OpenLineageSettings:
    """How events of OpenLineage are made and sent.

    Attributes:
        transport: Where they go, as the library has it: `type` is "http", "file", "console" or
            another of its own; its further keys are named there.
        namespace: Of the jobs.
        datasets: The namespace of the tables of this database; by default its own address, such as
            `postgres://db.example.org:5432`.
        facets: More of each event, as the library has it: `environment_variables`,
            `source_code_location`.
        filters: Which jobs are left out, as the library has it.
        tags: Of each job and run, as the library has it.
    """

    transport: Mapping[str, Any]
    namespace: str = NAMESPACE
    datasets: str | None = None
    facets: Mapping[str, Any] = field(default_factory=dict[str, Any])
    filters: tuple[Mapping[str, Any], ...] = ()
    tags: Mapping[str, Any] = field(default_factory=dict[str, Any])

    def of_library(self) -> dict[str, Any]:
        """What the library is given."""
        transport = dict(self.transport)
        if transport["type"] == "http":  # tried again from here, with nothing lost meanwhile
            transport.setdefault("retry", {"total": 0})
        elif transport["type"] == "file":
            transport.setdefault("append", True)
        given = {"facets": dict(self.facets), "tags": dict(self.tags)}
        filters = [dict(each) for each in self.filters]
        return {"transport": transport, "filters": filters} | {k: v for k, v in given.items() if v}


KEYS = tuple(each.name for each in fields(OpenLineageSettings))


def read_openlineage(config: Config) -> OpenLineageSettings | None:
    """How events of OpenLineage are sent; None where nobody wants them.

    Raises:
        InvalidDefinitionError: A key is unknown or wrong; the message names it.
    """
    if not config.openlineage:
        return None
    table = Table(f"{config.source or 'the settings'}: openlineage", config.openlineage, KEYS)
    transport = table.entries("transport", "a table")
    if not isinstance(transport.get("type"), str):
        table.wrong("transport", "a table with a type", TRANSPORT)
    filters: Any = table.value("filters", list, "a list of tables", [])
    if not all(isinstance(each, Mapping) for each in filters):
        table.wrong("filters", "a list of tables")
    return OpenLineageSettings(
        transport=transport,
        namespace=table.text("namespace", NAMESPACE),
        datasets=table.text("datasets"),
        facets=table.entries("facets", "a table"),
        filters=tuple(filters),
        tags=table.entries("tags", "a table"),
    )
