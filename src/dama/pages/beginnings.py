"""Beginnings of files: what is shown of one follows from its content, and is bounded text."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from io import StringIO
from typing import TYPE_CHECKING, Any

import msgspec

from dama.pages.shown import shown_json
from dama.visible import visible

if TYPE_CHECKING:
    from pathlib import Path

READ = 64 * 1024
SHOWN = 16 * 1024
ROWS, COLUMNS, CELL = 50, 20, 200
# By their first bytes: names may say anything. No SVG, which is a document with scripts.
IMAGES = {b"\x89PNG\r\n\x1a\n": "image/png", b"\xff\xd8\xff": "image/jpeg", b"GIF8": "image/gif"}
SEPARATORS = {".csv": ",", ".tsv": "\t"}


@dataclass(frozen=True)
class Preview:
    """The begin of a file.

    Attributes:
        kind: image, table, text or none.
        size: Of the whole file, in bytes.
        text: What is shown of a text; JSON is indented.
        rows: What is shown of a table.
        is_cut: Whether there is more.
    """

    kind: str
    size: int
    text: str = ""
    rows: Sequence[Sequence[str]] = ()
    is_cut: bool = False


def read(path: Path) -> Preview:
    """The begin of a file, as what its content is."""
    size = path.stat().st_size
    if image_type(path) is not None:
        return Preview("image", size)
    with path.open("rb") as file:
        data = file.read(READ)
    is_cut = size > len(data)
    try:
        # The last character may be cut in two.
        text = data.decode(errors="strict") if not is_cut else _whole(data)
    except UnicodeDecodeError:
        return Preview("none", size)
    if "\0" in text:
        return Preview("none", size)
    separator = SEPARATORS.get(path.suffix.lower())
    if separator is not None:
        return _table(text, separator, size, is_cut=is_cut)
    if path.suffix.lower() == ".json" and not is_cut:
        try:
            value: Any = msgspec.json.decode(data)
        except (msgspec.MsgspecError, RecursionError):
            pass  # it is shown as it is
        else:
            found = shown_json(value)
            return Preview("text", size, found.text, is_cut=found.is_cut)
    return Preview("text", size, visible(text[:SHOWN]), is_cut=is_cut or len(text) > SHOWN)


def _table(text: str, separator: str, size: int, *, is_cut: bool) -> Preview:
    if is_cut:
        text = text[: text.rfind("\n") + 1] or text
    found: list[list[str]] = []
    try:
        for row in csv.reader(StringIO(text, newline=""), delimiter=separator):
            if len(found) > ROWS:
                return Preview("table", size, rows=found, is_cut=True)
            found.append([visible(cell[:CELL]) for cell in row[:COLUMNS]])
            is_cut = is_cut or len(row) > COLUMNS
    except csv.Error:
        return Preview("text", size, visible(text[:SHOWN]), is_cut=is_cut or len(text) > SHOWN)
    return Preview("table", size, rows=found, is_cut=is_cut)


def _whole(data: bytes) -> str:
    """A text without the character that its end may have cut."""
    for cut in range(4):
        try:
            return data[: len(data) - cut].decode()
        except UnicodeDecodeError as error:
            if error.start < len(data) - 4:
                raise
    raise UnicodeDecodeError("utf-8", data, len(data) - 4, len(data), "cut")


def image_type(path: Path) -> str | None:
    """The media type of an image that can be shown; None for all other files."""
    with path.open("rb") as file:
        begin = file.read(12)
    if begin[:4] == b"RIFF" and begin[8:12] == b"WEBP":
        return "image/webp"
    return next((type_ for magic, type_ in IMAGES.items() if begin.startswith(magic)), None)
