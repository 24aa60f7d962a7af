"""Options of a task: made from its params, given to them as typed, and named in every problem."""

from dataclasses import dataclass
from datetime import date
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Literal

import pytest
from pydantic import Field

from dama.cli import service_main
from dama.cli.commands.run import task_command
from dama.cli.param_options import param_options, typed_params
from dama.cli.session import Session
from dama.definitions.registry import Registry
from dama.definitions.service import Service


class Mode(StrEnum):
    FULL = "full"
    DELTA = "delta"


@dataclass
class Window:
    first: date
    last: date


async def load(  # noqa: PLR0913, PLR0917 - one param for each kind of option
    task,
    year: int,
    schema_name: Annotated[str, Field(pattern="^[a-z]+$")] = "flights",
    months: list[int] = (),
    since: date | None = None,
    mode: Mode = Mode.FULL,
    kind: Literal["a", "b"] = "a",
    window: Window | None = None,
    windows: list[Window] = (),
    settings: dict[str, int] | None = None,
    folder: Path | None = None,
    ratio: float | str = 1,
    *,
    check: bool = True,
):
    """Load a year.

    Only the departures.

    Args:
        year: The year to load.
        months: Some of them.
        check: Refuse bad rows.
    """


@pytest.fixture
def definition():
    return Service("flights").task(load)


def parse(definition, *argv):
    """What the params model is given for a command line."""
    command = task_command(definition, "dama run flights.load")
    with command.make_context("flights.load", list(argv), obj=Session()) as context:
        return typed_params(param_options(definition.params), context.params)


def test_what_is_left_out_is_not_given():
    """The defaults are the model's, and a required param that is missing is its problem."""
    assert parse(Service("flights").task(load)) == {}


def test_texts_are_given_as_they_were_typed(definition):
    given = parse(definition, "--year", "2013", "--since", "2013-01-01", "--ratio", "7")

    assert given == {"year": "2013", "since": "2013-01-01", "ratio": "7"}
    assert definition.arguments(given)["since"] == date(2013, 1, 1)


@pytest.mark.parametrize(("flag", "value"), [("--check", True), ("--no-check", False)])
def test_bools_are_flags(definition, flag, value):
    assert parse(definition, flag) == {"check": value}


def test_lists_are_repeated_options(definition):
    given = parse(definition, "--year", "1", "--months", "1", "--months", "2")

    assert given["months"] == ["1", "2"]
    assert definition.arguments(given)["months"] == [1, 2]


def test_objects_are_json(definition):
    window = '{"first": "2013-01-01", "last": "2013-01-31"}'
    given = parse(
        definition,
        *("--year", "1", "--window", window, "--windows", window, "--windows", window),
        *("--settings", '{"a": 1}'),
    )

    expected = Window(date(2013, 1, 1), date(2013, 1, 31))
    arguments = definition.arguments(given)
    assert arguments["window"] == expected
    assert arguments["windows"] == [expected, expected]
    assert arguments["settings"] == {"a": 1}


def test_all_problems_are_shown_at_once_with_the_names_of_the_options(definition, capsys):
    service = Service("flights")
    service.task(load)

    argv = ["load", "--schema-name", "A1", "--months", "1", "--months", "x", "--settings", "{"]
    code = service_main(service, argv)

    shown = capsys.readouterr().err
    assert code == 2
    assert "--year is required" in shown
    assert "--schema-name String should match pattern" in shown
    assert "--months[1] should be a valid integer" in shown
    assert "--settings should be a valid dictionary" in shown
    assert "load --help` shows what it takes" in shown


def test_an_unknown_option_is_refused(definition, capsys):
    service = Service("flights")
    service.task(load)

    assert service_main(service, ["load", "--yaer", "1"]) == 2
    assert "--yaer" in capsys.readouterr().err


def test_the_help_page_has_the_docstring_the_types_and_the_defaults(capsys):
    service = Service("flights")
    service.task(load)

    assert service_main(service, ["load", "--help"]) == 0

    words = " ".join(capsys.readouterr().out.split())
    for expected in [
        "Load a year.",
        "Only the departures.",
        "--year INTEGER The year to load. [required]",
        "--schema-name TEXT [default: flights]",
        "--months INTEGER Some of them. (may be repeated)",
        "--since DATE",
        "--mode [full|delta] [default: full]",
        "--kind [a|b]",
        "--window JSON",
        "--windows JSON",
        "--settings JSON",
        "--folder PATH",
        "--ratio NUMBER|TEXT",
        "--check / --no-check Refuse bad rows. [default: true]",
        "--year ... --detach",
    ]:
        assert expected in words


def test_a_param_hides_an_option_of_run_that_may_still_come_before_the_name():
    """`--key` of the task is the task's; that of `dama run` is given further left."""

    async def find(task, key: str, *, json: bool = False): ...

    definition = Service("flights").task(find)

    assert parse(definition, "--key", "x", "--json") == {"key": "x", "json": True}


def test_the_page_of_a_service_lists_its_tasks(capsys):
    service = Service("flights", description="Departures.")
    service.task(load)

    assert service_main(service, ["--help"]) == 0

    shown = capsys.readouterr().out
    assert "Departures." in shown
    assert "load  Load a year." in shown


def test_a_task_that_a_service_does_not_have_names_the_nearest(capsys, monkeypatch):
    monkeypatch.setattr(Session, "registry", lambda _: Registry([service]))
    service = Service("flights")
    service.task(load)

    assert service_main(service, ["laod"]) == 2
    assert "Did you mean flights.load?" in capsys.readouterr().err
