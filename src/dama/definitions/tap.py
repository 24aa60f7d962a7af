"""Taps: programs of `kind = "singer"`, whose output is loaded into tables instead of being shown.

What is declared of one besides what every program has. Who starts it and loads what it extracts is
`dama.taps`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dama.config.table import nearest
from dama.definitions.command import WORK_DIR, fill, placeholders
from dama.errors import InvalidDefinitionError
from dama.shapes import is_array, is_list, is_object

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from dama.config.table import Table

SINGER = "singer"
DBT = "dbt"
TAP_KEYS = ("config", "catalog", "schema", "state_key", "bad_rows")
WORTHLESS = 78  # the exit code of what another attempt would not mend
_CONFIG = 'a table, such as { token = "{SHOP_TOKEN}" }, or the path of a JSON file'


@dataclass(frozen=True)
class TapSpec:
    """What a tap is given, and where what it extracts goes.

    Attributes:
        schema: Of the tables that it is loaded into.
        config: Its settings, with placeholders of params and secrets, or the path of a JSON file.
        catalog: The path of its catalog.
        state_key: A template of params: runs with the same values continue from each other, without
            it all runs do.
        bad_rows: A table for records that do not fit; without it the first one fails the run.
    """

    schema: str
    config: Mapping[str, Any] | str | None = None
    catalog: str | None = None
    state_key: str | None = None
    bad_rows: str | None = None

    def key(self, params: Mapping[str, Any]) -> str:
        """What tells the states of one tap apart; empty for all runs alike."""
        return (self.state_key and fill(self.state_key, params)) or ""


def read_kind(table: Table) -> str | None:
    """Read the kind of a program; None for one of no kind.

    Raises:
        InvalidDefinitionError: There is no such kind.
    """
    kind = table.text("kind")
    if kind not in {None, SINGER, DBT}:
        table.wrong("kind", f'"{SINGER}", "{DBT}", or no kind')
    return kind


def read_tap(
    table: Table, params: Collection[str], secrets: Collection[str], base: Path
) -> TapSpec | None:
    """Read what makes a program a tap; None for one that is none.

    Raises:
        InvalidDefinitionError: A key is wrong, or belongs to a tap only.
    """
    if read_kind(table) != SINGER:
        if lost := next((key for key in TAP_KEYS if table.has(key)), None):
            table.wrong(lost, "no such key in a program", f'Add kind = "{SINGER}" if it is a tap.')
        return None
    if not table.has("schema"):
        table.wrong("schema", 'the schema of its tables, such as "shop"')
    for key in ("exit_codes", "pty"):
        if table.has(key):
            table.wrong(key, f'no such key with kind = "{SINGER}"')
    catalog = table.text("catalog")
    return TapSpec(
        schema=table.text("schema"),
        config=_config(table, [*params, WORK_DIR, *secrets], base),
        catalog=None if catalog is None else str(base / Path(catalog).expanduser()),
        state_key=_state_key(table, params),
        bad_rows=table.text("bad_rows"),
    )


def filled(config: object, values: Mapping[str, Any]) -> Any:
    """A config with its placeholders filled; what has no value is left out.

    A string that is one placeholder becomes the value itself, a number for one.
    """
    if is_object(config):
        pairs = {str(key): filled(each, values) for key, each in config.items()}
        return {key: each for key, each in pairs.items() if each is not None}
    if is_list(config):
        return [each for each in (filled(item, values) for item in config) if each is not None]
    if not isinstance(config, str):
        return config
    found = placeholders(config)
    if len(found) == 1 and not found[0].mark and config == f"{{{found[0].name}}}":
        return values.get(found[0].name)
    return fill(config, values)


def _state_key(table: Table, params: Collection[str]) -> str | None:
    template = table.text("state_key")
    if template is not None:
        named = {each.name for each in placeholders(template)}
        if not named or not named <= {*params}:
            table.wrong("state_key", 'params in braces, such as "{account}"')
    return template


def _config(table: Table, known: list[str], base: Path) -> Mapping[str, Any] | str | None:
    found: object = table.value("config", (Mapping, str), _CONFIG, None)
    if found is None or isinstance(found, str):
        return None if found is None else str(base / Path(found).expanduser())
    if not is_object(found):
        table.wrong("config", _CONFIG)
    for text in _texts(found):
        for each in placeholders(text):
            if each.name not in known:
                raise InvalidDefinitionError(
                    f"{table.where}.config has the placeholder {{{each.name}}} in {text!r}, but "
                    "neither a param nor a secret of this name is declared.",
                    nearest(each.name, known, verb="Declared are")
                    + f" For the braces themselves, write {{{{{each.name}}}}}.",
                )
    return {str(key): _as_json(each) for key, each in found.items()}


def _as_json(value: object) -> Any:
    """A value of TOML as JSON has it: times are strings."""
    if is_object(value):
        return {str(key): _as_json(each) for key, each in value.items()}
    if is_array(value):
        return [_as_json(each) for each in value]
    return value.isoformat() if isinstance(value, date | time) else value


def _texts(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif is_object(value):
        for each in value.values():
            yield from _texts(each)
    elif is_array(value):
        for each in value:
            yield from _texts(each)
