"""Params: the model that a signature and a docstring make, and what it says of wrong values."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from typing import Annotated, Any, Literal

import pytest
from pydantic import Field

from dama.definitions.docstring import parse_docstring
from dama.definitions.errors import InvalidParamsError
from dama.definitions.service import Service
from dama.errors import InvalidDefinitionError
from dama.run.sync_task import SyncTask
from dama.run.task import Task
from dama.shipped.tasks import describe_task


def define(function):
    return Service("flights").task(function)


async def load(task, year: int = 2013, airport: str | None = None, *, days: list[date] = ()):
    """Load a year of departures.

    They come from files.

    Args:
        year: The year to load.
        airport: Where they start;
            all airports when left out.
    """


@pytest.mark.parametrize(
    "head",
    ["n: int", "n: 'int'", "n: list[int]", "n: 'dict[str, int]'", "day: 'datetime.date'", "n=1"],
)
def test_a_task_that_forgot_the_task_is_refused_where_it_is_written(head):
    """It would fail at its first run, with the task where a number is meant."""
    space = {"service": Service("forgetful")}

    with pytest.raises(InvalidDefinitionError, match="looks like a param") as caught:
        exec(f"@service.task\ndef load({head}):\n    pass", space)  # noqa: S102 - many heads

    assert "task: Task" in caught.value.hint


@pytest.mark.parametrize("head", ["task", "task: Task", "task: object", "t: 'Unknown'", "t: Any"])
def test_whatever_may_be_a_task_is_taken(head):
    """Its annotation is the project's own affair."""
    space = {"service": Service("fine"), "Task": Task, "Any": Any}

    exec(f"@service.task\ndef load({head}, n: int = 1):\n    pass", space)  # noqa: S102 - many heads


def test_arguments_are_converted_and_defaults_filled_in():
    arguments = define(load).arguments({"year": "2014", "days": ["2014-02-01"]})

    assert arguments == {"year": 2014, "airport": None, "days": [date(2014, 2, 1)]}


def test_params_are_kept_as_json_with_the_defaults_of_today():
    """A run that waits must not change its meaning when the defaults of the code change."""
    kept = define(load).encode_params({"days": [date(2014, 2, 1)]})

    assert kept == {"year": 2013, "airport": None, "days": ["2014-02-01"]}
    assert define(load).encode_params(kept) == kept


def test_all_problems_are_shown_at_once_in_the_order_of_the_signature():
    with pytest.raises(InvalidParamsError) as caught:
        define(load).validate({"yaer": 1, "days": ["2014-02-01", "x"], "year": "soon"})

    assert [(p.name, p.path, p.kind) for p in caught.value.problems] == [
        ("year", "", "int_parsing"),
        ("days", "[1]", "date_from_datetime_parsing"),
        ("yaer", "", "extra_forbidden"),
    ]
    assert caught.value.exit_code == 2
    assert "year should be a valid integer" in str(caught.value)
    assert "but is 'soon'" in str(caught.value)
    assert "yaer is not one of its params" in str(caught.value)
    assert caught.value.hint == "flights.load takes year, airport, days."


def test_a_missing_param_is_required():
    async def load_month(task, month: int): ...

    with pytest.raises(InvalidParamsError, match="month is required"):
        define(load_month).validate({})


def test_nan_is_refused_because_json_has_none():
    async def scale(task, factor: float): ...

    with pytest.raises(InvalidParamsError, match="finite"):
        define(scale).validate({"factor": math.nan})


def test_help_comes_from_the_docstring_unless_the_annotation_has_one():
    async def publish(
        task,
        schema: Annotated[str, Field(pattern="^[a-z]+$")],
        year: Annotated[int, Field(description="Of the departures.", ge=1903)],
    ):
        """Publish.

        Args:
            schema: Where to.
            year: Not shown.
        """

    properties = define(publish).params.model_json_schema()["properties"]

    assert properties["schema"]["description"] == "Where to."
    assert properties["schema"]["pattern"] == "^[a-z]+$"
    assert properties["year"]["description"] == "Of the departures."
    assert properties["year"]["minimum"] == 1903


def test_names_that_models_use_themselves_may_be_params():
    """`schema`, `copy` and `json` are attributes of every pydantic model; a task may take them."""

    async def export(task, schema: str, copy: int, _all: int, model_name: str = "x"): ...

    values = {"schema": "flights", "copy": 2, "_all": 1, "model_name": "x"}

    assert define(export).arguments(values) == values
    assert define(export).encode_params(values) == values
    with pytest.raises(InvalidParamsError, match="schema should be a valid string"):
        define(export).validate({**values, "schema": 3})


@dataclass(frozen=True)
class Window:
    first: date
    last: date


def test_a_param_may_be_a_dataclass():
    async def load(task, window: Window): ...

    given = {"window": {"first": "2013-01-01", "last": "2013-01-31"}}

    assert define(load).arguments(given)["window"] == Window(date(2013, 1, 1), date(2013, 1, 31))
    with pytest.raises(InvalidParamsError, match=r"window\.last is required"):
        define(load).validate({"window": {"first": "2013-01-01"}})


def test_a_plain_default_is_the_type_of_a_param_without_an_annotation():
    async def load(task, year=2013, other=None): ...

    assert define(load).arguments({"year": "7", "other": [1]}) == {"year": 7, "other": [1]}


def test_annotations_are_evaluated_late_and_the_task_s_own_may_be_missing():
    """`from __future__ import annotations` with Task under TYPE_CHECKING is a usual style."""

    async def load(task: "Missing", year: "int" = 1): ...  # noqa: F821

    assert define(load).arguments({"year": "2"}) == {"year": 2}


def test_an_annotation_that_can_not_be_evaluated_is_named():
    async def load(task, year: "Missing"): ...  # noqa: F821

    with pytest.raises(InvalidDefinitionError, match="annotation of 'year'") as caught:
        define(load).validate({})

    assert "TYPE_CHECKING" in caught.value.hint


def test_a_type_that_json_can_not_hold_is_refused():
    async def load(task, connection: Service): ...

    with pytest.raises(InvalidDefinitionError, match=r"flights\.load"):
        define(load).validate({})


@pytest.mark.parametrize(
    "function",
    [
        lambda: None,
        lambda *task: None,
        lambda task, *months: None,
        lambda task, **months: None,
        lambda task, month, /: None,
    ],
)
def test_a_signature_that_can_not_be_called_by_names_is_refused_when_defined(function):
    with pytest.raises(InvalidDefinitionError):
        Service("flights").task(name="load")(function)


class Options:
    """What a user may have."""

    def load(self, year: int): ...


async def of_an_int(n: int): ...
async def of_a_text(n: "int"): ...
async def of_an_optional(n: int | None): ...
async def of_a_late_optional(n: "str | None"): ...
async def of_a_list(n: list[int]): ...
async def of_a_choice(n: Literal["a", "b"]): ...
async def of_something_annotated(n: Annotated[int, "a note"]): ...
async def of_a_class_of_the_user(options: Options): ...
async def of_a_late_class_of_the_user(options: "Options"): ...
async def with_a_default(year=2013): ...


@pytest.mark.parametrize(
    "function",
    [
        of_an_int,
        of_a_text,
        of_an_optional,
        of_a_late_optional,
        of_a_list,
        of_a_choice,
        of_something_annotated,
        of_a_class_of_the_user,
        of_a_late_class_of_the_user,
        with_a_default,
    ],
)
def test_a_function_without_the_parameter_for_the_task_is_refused_when_defined(function):
    """Its first param would be the task itself, and the first run would fail far from here."""
    for decorator, first in (("task", "`task: Task`"), ("action", "`call: Call`")):
        with pytest.raises(InvalidDefinitionError, match="looks like a param") as caught:
            getattr(Service("flights"), decorator)(name="load")(function)
        assert f"Put {first}" in caught.value.hint


def a_generator(task):
    yield 1


async def an_asynchronous_generator(task):
    yield 1


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (Options, "is a class"),
        (Options.load, "begins with 'self'"),
        (7, "is of type int"),
        (a_generator, "yields"),
        (an_asynchronous_generator, "yields"),
    ],
)
def test_what_is_no_function_for_a_task_is_refused_when_defined(function, message):
    with pytest.raises(InvalidDefinitionError, match=message):
        Service("flights").task(name="load")(function)


def of_ours(task: Task): ...
def of_ours_late(task: "Task | SyncTask"): ...
def of_both(task: Task | SyncTask): ...
def of_anything(task: Any): ...
def of_an_object(task: object, year: int): ...
def plain(task, year: int = 2013): ...


@pytest.mark.parametrize(
    "function", [of_ours, of_ours_late, of_both, of_anything, of_an_object, plain]
)
def test_a_task_s_own_parameter_may_be_annotated_or_not(function):
    assert Service("flights").task(name="load")(function).name == "flights.load"


def test_a_docstring_is_taken_apart():
    docstring = parse_docstring(load.__doc__)

    assert docstring.summary == "Load a year of departures."
    assert docstring.description == "They come from files."
    assert docstring.params == {
        "year": "The year to load.",
        "airport": "Where they start; all airports when left out.",
    }


def test_types_in_a_docstring_are_skipped_and_other_sections_are_not_help():
    docstring = parse_docstring("""Load.

    Args:
        year (int): The year: a number.

    Returns:
        month: Not a param.
    """)

    assert docstring.params == {"year": "The year: a number."}
    assert docstring.description == ""


@pytest.mark.parametrize("annotation", [Callable[[], int], type, object])
def test_a_task_that_nobody_can_start_is_listed_with_the_reason(annotation):
    """It is one task, and the list is of all."""

    async def load(task: Task, what: object) -> None: ...

    load.__annotations__["what"] = annotation
    listed = describe_task(Service("odd").task(load))
    if annotation is object:
        assert "error" not in listed
    else:
        assert "odd.load: its params cannot be validated" in listed["error"]
        assert listed["params"] == {}
