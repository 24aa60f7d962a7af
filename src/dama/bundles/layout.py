"""The layout of a bundle: a zip file with lines of JSON, and a manifest with their checksums.

The same contexts give the same bytes: nothing in it tells when, by whom or where it was written.
"""

from __future__ import annotations

import re
from datetime import datetime
from zipfile import ZIP_DEFLATED, ZipInfo

import msgspec

FORMAT = "dama-bundle"
VERSION = 1
MANIFEST = "manifest.json"
CONTEXTS = "contexts.ndjson"
EVENTS = "events.ndjson"
# Of a run of a program: logs/CONTEXT/EPOCH/stdout, artifacts/CONTEXT/EPOCH/NAME.
RUN_FILE = re.compile(
    r"(?P<kind>logs|artifacts)/(?P<context>[0-9]{1,18})/(?P<epoch>[0-9]{1,9})/(?P<name>.+)"
)
LOGS = ("stdout", "stderr", "exit.json")
LONGEST_LINE = 8 * 1024 * 1024
LARGEST_MANIFEST = 64 * 1024 * 1024
EPOCH_OF_ZIP = (1980, 1, 1, 0, 0, 0)  # the first moment that a zip file can tell


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """What is in a bundle.

    Attributes:
        format: `dama-bundle`.
        version: Of the format.
        contexts: How many.
        events: How many.
        sha256: The checksum of each other member, by its name.
    """

    format: str
    version: int
    contexts: int
    events: int
    sha256: dict[str, str]


class BundledEvent(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A line for an event; payload and meta are read by the database, which keeps all digits.

    Attributes:
        context: The place of its context.
        version: Its place in that, from 1.
        event_id: In the database that it comes from.
        created_at: When it was stored.
        type: As it is stored.
        payload: Any JSON, or absent.
        meta: An object; whatever an adopted database has.
        error: Whether it tells of an error, or absent.
    """

    context: int
    version: int
    created_at: datetime
    type: str
    event_id: int | msgspec.UnsetType = msgspec.UNSET
    payload: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    meta: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    error: bool | msgspec.UnsetType = msgspec.UNSET


def member(name: str) -> ZipInfo:
    """A member of the zip file, which says nothing of when and where it was made."""
    info = ZipInfo(name, EPOCH_OF_ZIP)
    info.compress_type = ZIP_DEFLATED
    info.create_system = 3  # Unix
    info.external_attr = 0o600 << 16
    return info
