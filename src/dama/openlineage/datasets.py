"""Datasets by their names: as tasks and steps say them, and as OpenLineage has them."""

from __future__ import annotations

import re
from dataclasses import dataclass

_URL = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://([^/?#]*)(.*)", re.DOTALL)
_PART = r'(?:"(?:[^"]|"")+"|[^\W\d][\w$]*)'
_TABLE = re.compile(rf"(?:({_PART})\.)?({_PART})")
FILE = "file"
PUBLIC = "public"


@dataclass(frozen=True)
class Place:
    """Where the tables of a database are.

    Attributes:
        namespace: Of OpenLineage, such as `postgres://db.example.org:5432`.
        database: The name of the database.
    """

    namespace: str
    database: str


@dataclass(frozen=True)
class Dataset:
    """A dataset.

    Attributes:
        namespace: Of OpenLineage.
        name: Within it.
        table: Its schema and name, where it is a table of the database.
    """

    namespace: str
    name: str
    table: tuple[str, str] | None = None


def dataset_of(said: str, place: Place) -> Dataset:
    """The dataset that a name means.

    Args:
        said: A table as SQL has it, `orders`, `mart.orders`, `"Mart"."Orders"`, or a URL,
            `s3://lab/orders/2013`. What is neither is a name of this database as it is.
        place: Where the tables are.
    """
    if url := _URL.fullmatch(said):
        scheme, authority, path = url.groups()
        if not authority:  # file:///data/orders.csv
            return Dataset(scheme.lower(), path or "/")
        return Dataset(f"{scheme.lower()}://{authority}", path.lstrip("/") or "/")
    if said.startswith("/"):
        return Dataset(FILE, said)
    found = _TABLE.fullmatch(said)
    if found is None:
        return Dataset(place.namespace, f"{place.database}.{said}")
    schema = PUBLIC if found[1] is None else _plain(found[1])
    table = (schema, _plain(found[2]))
    return Dataset(place.namespace, ".".join((place.database, *table)), table)


def _plain(part: str) -> str:
    """A part of a name as the catalog has it."""
    return part[1:-1].replace('""', '"') if part.startswith('"') else part.lower()
