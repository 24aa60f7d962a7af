"""Services: what a definition has, what is refused, and how results are kept."""

import subprocess
import sys
from dataclasses import dataclass
from datetime import date
from decimal import Decimal

import pytest

from dama.config.duration import parse_duration
from dama.definitions.adhoc import adhoc
from dama.definitions.errors import DuplicateNameError, InvalidResultError
from dama.definitions.options import TaskOptions
from dama.definitions.service import Service
from dama.errors import InvalidDefinitionError


@dataclass(frozen=True)
class Month:
    first: date
    rows: int
    names: tuple[str, ...] = ()


async def load(task, year: int = 2013) -> Month:
    """Load a year.

    In blocks.
    """


def test_a_task_says_what_its_runs_are():
    """Nobody else asks what kind it is; a command that nobody declared is a program, too."""
    flights = Service("flights")
    program = flights.program("fetch", command=["./fetch.sh"])
    own = flights.task(load, name="apart", isolation="process")

    said = {t.name: (t.is_function, t.outlives_worker) for t in (flights.task(load), own)}
    said |= {t.name: (t.is_function, t.outlives_worker) for t in (program, adhoc)}

    assert said == {
        "flights.load": (True, False),
        "flights.apart": (True, True),
        "flights.fetch": (False, True),
        "programs.run": (False, True),
    }


def test_a_definition_has_names_options_and_texts():
    flights = Service("flights")

    definition = flights.task(load)

    assert definition.name == "flights.load"
    assert definition.short_name == "load"
    assert definition.service == "flights"
    assert definition.function is load
    assert definition.is_async
    assert definition.options == TaskOptions()
    assert (definition.summary, definition.description) == ("Load a year.", "In blocks.")
    assert flights.tasks == {"load": definition}


def test_settings_are_read_with_durations_as_text():
    definition = Service("flights").task(
        name="load-it", queue="etl", retries=3, timeout="2h", backoff=2, retry_on=OSError
    )(load)

    assert definition.name == "flights.load-it"
    assert definition.options == TaskOptions(
        queue="etl", retries=3, timeout=7200.0, backoff=2.0, retry_on=(OSError,)
    )


def test_a_plain_function_is_not_async():
    assert not Service("flights").task(name="load")(lambda task: None).is_async


def test_a_service_without_a_description_has_that_of_its_module():
    flights = Service("flights")
    flights.task(load)

    assert flights.summary.startswith("Services: what a definition has")
    assert Service("flights", description="Departures.").summary == "Departures."


@pytest.mark.parametrize("name", ["", "2013", "a//b", "a/", "a b", "-a", "a..b", ".a", "a>"])
def test_a_wrong_name_of_a_service_is_refused(name):
    with pytest.raises(InvalidDefinitionError, match="cannot be the name of a service"):
        Service(name)


@pytest.mark.parametrize("name", ["Flights", "flights.load"])
def test_a_service_with_tasks_has_a_name_without_capitals_and_dots(name):
    """Dots part a task from its service; only actions take the names that Moleculer has."""
    with pytest.raises(InvalidDefinitionError, match="cannot be the name of a service with tasks"):
        Service(name).task(load)


def test_a_wrong_name_of_a_task_is_refused():
    with pytest.raises(InvalidDefinitionError, match="cannot be the name of a task"):
        Service("flights").task(name="Load")(load)


def test_a_name_is_given_once():
    """Both places are named: they are seldom in one file."""
    flights = Service("flights")
    flights.task(load)

    with pytest.raises(DuplicateNameError, match=r"test_service\.py:\d+ and in .*test_service\.py"):
        flights.task(load)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"retires": 1}, "no option 'retires'"),
        ({"retries": -1}, "retries is -1"),
        ({"timeout": "soon"}, "timeout is 'soon'"),
        ({"timeout": 0}, "timeout of 0"),
        ({"queue": " "}, "queue is ' ': expected a string that is not empty"),
    ],
)
def test_senseless_settings_are_refused_with_the_name_of_the_task(settings, message):
    with pytest.raises(InvalidDefinitionError, match=message) as caught:
        Service("flights").task(name="load", **settings)(load)

    assert "flights.load" in str(caught.value)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("45s", 45), ("30m", 1800), ("1h 30m", 5400), ("1d", 86400), ("500ms", 0.5), (7, 7)],
)
def test_durations(text, seconds):
    assert parse_duration(text, of="timeout") == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["", "5", "2 hours", "h", "-1s", -1, float("nan")])
def test_what_is_no_duration_is_refused(text):
    with pytest.raises(InvalidDefinitionError, match="timeout"):
        parse_duration(text, of="timeout")


def test_a_result_comes_back_as_what_it_was():
    definition = Service("flights").task(load)
    month = Month(date(2013, 1, 1), 27004, ("EWR",))

    kept = definition.encode_result(month)

    assert kept == {"first": "2013-01-01", "rows": 27004, "names": ["EWR"]}
    assert definition.decode_result(kept) == month


def test_a_result_without_an_annotation_is_plain_json():
    definition = Service("flights").task(name="load")(lambda task: None)

    kept = definition.encode_result(Month(date(2013, 1, 1), 1))

    assert kept == {"first": "2013-01-01", "rows": 1, "names": []}
    assert definition.decode_result(kept) == kept


@pytest.mark.parametrize("value", [0, "", None, [], {}, False, [None, 0]])
def test_empty_values_are_kept_as_they_are(value):
    definition = Service("flights").task(name="load")(lambda task: None)

    assert definition.decode_result(definition.encode_result(value)) == value


def test_a_result_that_nearly_fits_is_kept_as_promised():
    """A tuple where a list was promised, a whole number for a decimal: no reason to fail hours."""

    def count(task) -> list[Decimal]: ...

    definition = Service("flights").task(count)

    assert definition.encode_result((Decimal("1.10"), 2)) == ["1.10", "2"]


def test_a_result_that_does_not_fit_is_refused_where_it_is_made():
    def count(task) -> int: ...

    with pytest.raises(InvalidResultError, match=r"flights\.count is not what its annotation says"):
        Service("flights").task(count).encode_result("many")


def test_a_result_that_is_not_json_is_refused():
    definition = Service("flights").task(name="load")(lambda task: None)

    with pytest.raises(InvalidResultError, match="cannot be kept as JSON"):
        definition.encode_result(object())


def test_a_kept_result_that_no_longer_fits_says_what_is_missing():
    with pytest.raises(InvalidResultError, match="rows: Field required"):
        Service("flights").task(load).decode_result({"first": "2013-01-01"})


def test_defining_a_task_imports_nothing_heavy():
    """Every command imports the services; only those that run something need the rest."""
    program = """
import sys
from dama.definitions.service import Service
@Service("flights").task(retries=3)
async def load(task, year: int = 2013) -> list[int]: ...
heavy = {"pydantic", "psycopg", "rich", "click", "msgspec", "asyncio"} & set(sys.modules)
sys.exit(", ".join(heavy) or 0)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=False)

    assert done.returncode == 0, done.stderr.decode()
