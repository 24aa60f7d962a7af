"""Declarations of programs: what one gives, and what is refused before anything runs."""

import re
import tomllib
from datetime import date
from pathlib import Path

import pytest

from dama.definitions.declaration import PROGRAM_KEYS
from dama.definitions.declared_params import PARAM_KEYS
from dama.definitions.errors import DuplicateNameError, InvalidParamsError, ProgramEnvironmentError
from dama.definitions.program_params import TYPES
from dama.definitions.registry import Registry
from dama.definitions.service import Service
from dama.domain.exit import ExitCodes
from dama.errors import InvalidDefinitionError

DOCS = Path(__file__).parents[3] / "docs"
FULL = """
[programs."flights.import"]
help = "Import a year.\\n\\nAs it has been done since 2009."
command = [
    "./import.sh", "--year", "{year}", ["--airport", "{airport}"], ["-m", "{months}"],
    "--check{?check}", "--no-check{!check}",
]
cwd = "etl"
env = { TZ = "UTC", FLIGHTS_YEAR = "{year}", FLIGHTS_AIRPORT = "{airport}" }
env_files = ["config/postgres.{pg_env}.env"]
secrets = ["PGPASSWORD"]
queue = "etl"
priority = 5
retries = 3
timeout = "2h"
grace = "30s"
exit_codes = { done = [0, 3], retry = [75], fail = [64] }
pty = true
nice = 10
memory = "2GiB"
log_cap = "1MB"

[programs."flights.import".params]
year = { type = "integer", min = 1987, max = 2100, help = "The year." }
airport = { required = false, choices = ["EWR", "JFK", "LGA"] }
months = { type = "integer", list = true, max = 12 }
check = { type = "boolean", default = true }
since = { type = "date", required = false, min = 2000-01-01 }
until = { type = "timestamp", default = 2013-01-31T12:00:00 }
ratio = { type = "number", default = 1 }
file = { type = "path", default = "data.csv" }
pg_env = { default = "local" }
"""


def registry_of(text, root=Path("/project")):
    registry = Registry()
    registry.add_programs(tomllib.loads(text)["programs"], "dama.toml", root)
    return registry


def task_of(text, root=Path("/project")):
    (task,) = registry_of(text, root).tasks.values()
    return task


def declared(lines, params="year = { type = 'integer' }"):
    text = f'[programs."a.b"]\n{lines}\n[programs."a.b".params]\n{params}\n'
    return task_of(text)


def test_a_declaration_is_a_task_like_every_other():
    """Its options are those of `@service.task`, its help is its docstring."""
    task = task_of(FULL)

    assert (task.name, task.service, task.short_name) == ("flights.import", "flights", "import")
    assert (task.summary, task.description) == ("Import a year.", "As it has been done since 2009.")
    options = task.options
    assert (options.queue, options.priority, options.retries, options.timeout) == (
        "etl",
        5,
        3,
        7200,
    )


def test_a_declaration_says_how_the_program_is_started():
    """Relative paths begin at the file."""
    program = task_of(FULL).program

    assert program.cwd == "/project/etl"
    assert program.env_files == ("/project/config/postgres.{pg_env}.env",)
    assert program.exit_codes == ExitCodes(frozenset({0, 3}), frozenset({75}), frozenset({64}))
    assert (program.pty, program.nice, program.grace) == (True, 10, 30)
    assert (program.memory, program.log_cap, program.secrets) == (2 * 2**30, 10**6, ("PGPASSWORD",))


def test_the_least_declaration_is_a_command():
    """All else has a default."""
    program = task_of('[programs."a.b"]\ncommand = ["./b.sh"]').program

    assert (program.argv({}), program.cwd, program.exit_codes) == (
        ["./b.sh"],
        "/project",
        ExitCodes(),
    )
    assert (program.memory, program.nice, program.pty, program.grace) == (None, None, False, 10)


def test_params_are_validated_and_come_as_arguments():
    """Texts as they are typed become values; what was left out has its default."""
    task = task_of(FULL)

    kept = task.encode_params({"year": "2013", "months": ["1", "2"]})

    assert kept == {
        "year": 2013, "airport": None, "months": [1, 2], "check": True, "since": None,
        "until": "2013-01-31T12:00:00", "ratio": 1.0, "file": "data.csv", "pg_env": "local",
    }  # fmt: skip
    expected = ["./import.sh", "--year", "2013", "-m", "1", "-m", "2", "--check"]
    assert task.program.argv(kept) == expected
    assert task.program.argv(task.arguments({"year": 2013, "months": [1, 2]})) == expected
    off = task.encode_params({"year": 2013, "check": "false", "airport": "JFK"})
    assert task.program.argv(off)[3:] == ["--airport", "JFK", "--no-check"]


@pytest.mark.parametrize(
    ("params", "name"),
    [
        ({}, "year"),
        ({"year": 1900}, "year"),
        ({"year": "many"}, "year"),
        ({"year": 2013, "airport": "BOS"}, "airport"),
        ({"year": 2013, "months": [13]}, "months"),
        ({"year": 2013, "since": "1999-12-31"}, "since"),
        ({"year": 2013, "since": "2013"}, "since"),
        ({"year": 2013, "until": "1356998400"}, "until"),
        ({"year": 2013, "until": 1356998400}, "until"),
        ({"year": 2013, "yaer": 1}, "yaer"),
    ],
)
def test_params_that_do_not_fit_are_refused(params, name):
    """As those of a task in Python."""
    with pytest.raises(InvalidParamsError) as caught:
        task_of(FULL).validate(params)

    assert [problem.name for problem in caught.value.problems] == [name]


def test_the_schema_of_the_params_is_json_schema():
    """For forms and other programs."""
    schema = task_of(FULL).params.model_json_schema()

    assert schema["required"] == ["year"]
    year = schema["properties"]["year"]
    assert (year["type"], year["minimum"], year["maximum"]) == ("integer", 1987, 2100)
    assert year["description"] == "The year."
    assert schema["properties"]["until"]["format"] == "date-time"
    assert schema["properties"]["airport"]["anyOf"][0]["enum"] == ["EWR", "JFK", "LGA"]


def test_variables_come_from_the_files_then_env_then_the_params(tmp_path):
    """Without a value a variable is left out. Secrets are not among them."""
    (tmp_path / "config").mkdir()
    (tmp_path / "config/postgres.local.env").write_text("PGHOST=lab\nTZ=Europe/Berlin\n")
    task = task_of(FULL, tmp_path)

    environment = task.program.environment(task.encode_params({"year": 2013, "months": [1]}))

    assert environment["PGHOST"] == "lab"
    assert (environment["TZ"], environment["FLIGHTS_YEAR"]) == ("UTC", "2013")
    assert (environment["DAMA_PARAM_YEAR"], environment["DAMA_PARAM_MONTHS"]) == ("2013", "[1]")
    assert environment["DAMA_PARAM_CHECK"] == "true"
    assert not {"FLIGHTS_AIRPORT", "DAMA_PARAM_AIRPORT", "PGPASSWORD"} & set(environment)


@pytest.mark.parametrize(
    ("pg_env", "words"), [("lab", "is not there"), ("../../x", "leaves the folder")]
)
def test_a_file_of_variables_that_can_not_be_used_is_said(tmp_path, pg_env, words):
    """A param names only a file beside the others."""
    task = task_of(FULL, tmp_path)

    with pytest.raises(ProgramEnvironmentError, match=words) as raised:
        task.program.environment(task.encode_params({"year": 2013, "pg_env": pg_env}))
    assert raised.value.is_final  # no attempt of its own writes it


PLACE = r'dama\.toml: programs\."a\.b"'


@pytest.mark.parametrize(
    ("lines", "message", "hint"),
    [
        ("comand = ['x']", PLACE + " has the unknown key 'comand'", "Did you mean 'command'"),
        ("", PLACE + r"\.command is missing", ""),
        ("command = 'x'", r"\.command is 'x': expected a list of strings", ""),
        ("command = []", r"\.command is \[\]: expected a list of strings", ""),
        ("command = ['x', 1]", r"\.command is \['x', 1\]: expected a list", ""),
        ("command = ['x', ['y', ['z']]]", r"\.command .* expected a list", ""),
        ("command = [['x']]", "expected the program itself first", ""),
        ("command = ['{year}']", "expected the program itself first", ""),
        ("command = ['x', '{yaer}']", "no param 'yaer' is declared", "Did you mean 'year'"),
        ("command = ['x', '{zz}']", "no param 'zz'", "Declared params are year"),
        ("command = ['x', '{?year}']", "adds no text", ""),
        ("command = ['x']\nretries = '3'", r"\.retries is '3': expected a whole number", ""),
        ("command = ['x']\nretries = -1", r"\.retries is -1: expected a whole number from 0", ""),
        ("command = ['x']\nretries = true", r"\.retries is true: expected", ""),
        ("command = ['x']\ntimeout = 'soon'", "timeout is 'soon': expected seconds", ""),
        ("command = ['x']\ntimeout = []", r"\.timeout is \[\]: expected seconds", ""),
        ("command = ['x']\nconcurrency = 0", r"\.concurrency is 0: expected a whole number", ""),
        ("command = ['x']\nconcurrency = 1\nconcurrency_key = '{yaer}'", "names 'yaer'", "year"),
        (
            "command = ['x']\nsingleton = 'maybe'",
            "singleton is 'maybe': expected one of 'refuse'",
            "",
        ),
        ("command = ['x']\ngrace = 'x'", r"\.grace is 'x': expected seconds", ""),
        ("command = ['x']\nqueue = ''", r"\.queue is '': expected a string that is not empty", ""),
        ("command = ['x']\npty = 1", r"\.pty is 1: expected true or false", ""),
        ("command = ['x']\nnice = 20", r"\.nice is 20: expected .* from -20 to 19", ""),
        ("command = ['x']\nmemory = '2 apples'", r"\.memory is '2 apples': expected", ""),
        ("command = ['x']\nmemory = 0", r"\.memory is 0: expected", ""),
        ("command = ['x']\ncwd = '{year}'", r"\.cwd .* without placeholders", ""),
        ("command = ['x']\nenv = { A = 1 }", r"\.env\.A is 1: expected a string", ""),
        ("command = ['x']\nenv = { 'A B' = '' }", "not a valid variable name", ""),
        ("command = ['x']\nenv = { DAMA_X = '' }", "set by dama itself", ""),
        ("command = ['x']\nenv = { A = '{yaer}' }", r"\.env\.A has the placeholder", "'year'"),
        ("command = ['x']\nenv_files = 'x'", r"\.env_files is 'x': expected a list of paths", ""),
        ("command = ['x']\nenv_files = ['{year}/x']", "only in the last part", ""),
        ("command = ['x']\nsecrets = ['A']\nenv = { A = '1' }", "A in env and in secrets", "env"),
        ("command = ['x']\nsecrets = ['year']", "year in params and in secrets", "events"),
        ("command = ['x']\nexit_codes = { don = [0] }", "unknown key 'don'", "'done'"),
        ("command = ['x']\nexit_codes = { done = [256] }", "from 0 to 255", ""),
        ("command = ['x']\nexit_codes = { done = [1], fail = [1] }", "has 1 more than once", ""),
    ],
)
def test_a_wrong_declaration_is_refused(lines, message, hint):
    """With the file, the key, what was found, what is wanted, and the nearest name."""
    with pytest.raises(InvalidDefinitionError, match=message) as caught:
        declared(lines)

    assert "dama.toml" in caught.value.message
    assert hint in (caught.value.hint or "")


@pytest.mark.parametrize(
    ("params", "message", "hint"),
    [
        ("year = 'integer'", r"params\.year is 'integer': expected a table", ""),
        ("year = { typ = 'integer' }", "unknown key 'typ'", "'type'"),
        (
            "year = { type = 'integr' }",
            r"params\.year\.type is 'integr': expected one of",
            "integer",
        ),
        ("year = { secret = true }", "unknown key 'secret'", "secrets"),
        ("Year = {}", "cannot be the name of a param", ""),
        ("year = { type = 'integer', default = '1' }", r"\.default is '1': expected a whole", ""),
        ("year = { type = 'integer', default = true }", r"\.default is true: expected", ""),
        ("year = { type = 'integer', default = 1, min = 2 }", "what min and max allow", ""),
        ("year = { type = 'integer', min = 3, max = 2 }", r"\.min is 3: expected at most 2", ""),
        ("year = { min = 3 }", "has min, but is of the type string", ""),
        ("year = { type = 'integer', choices = ['1'] }", "expected string", ""),
        ("year = { choices = 'a' }", r"\.choices is 'a': expected a list", ""),
        ("year = { choices = ['a'], default = 'b' }", "expected one of a", ""),
        ("year = { default = 'b', required = true }", "expected false, or no default", ""),
        ("year = { list = true, default = 'b' }", r"\.default is 'b': expected a list", ""),
        ("year = { type = 'date', default = '2013' }", "expected a date", ""),
        ("year = { type = 'date', default = 2013-01-01T00:00:00 }", "expected a date", ""),
        (
            "year = { type = 'timestamp', min = 2013-01-01T00:00:00, max = 2014-01-01T00:00:00Z }",
            "an offset in all",
            "",
        ),
    ],
)
def test_a_wrong_param_is_refused(params, message, hint):
    """When it is declared, not when somebody runs it."""
    with pytest.raises(InvalidDefinitionError, match=message) as caught:
        declared("command = ['x']", params)

    assert hint in (caught.value.hint or "")


@pytest.mark.parametrize("place", ["command = ['x', '{TOKEN}']", "env = { A = '{TOKEN}' }"])
def test_a_secret_has_no_placeholder(place):
    """An argument is seen in `ps` and in events."""
    command = "" if place.startswith("command") else "command = ['x']\n"

    with pytest.raises(InvalidDefinitionError, match="secret TOKEN") as caught:
        declared(f"{command}{place}\nsecrets = ['TOKEN']")

    assert "environment" in caught.value.hint


@pytest.mark.parametrize(
    "command",
    [
        ["bash", "-c", "load {year}"],
        ["/bin/sh", "-ec", "load {year}"],
        ["python3", "-c", "print('{year}')"],
        ["node", "-e", "f({year})"],
        ["psql", "-c", "SELECT load({year})"],
        ["psql", "-Atc", "SELECT load({year})"],
        ["psql", "-AtcSELECT load({year})"],
        ["psql", "--command=SELECT load({year})"],
        ["python", "-cload({year})"],
        ["node", "--eval=load({year})"],
        ["perl", "-ne", "load({year})"],
        ["env", "TZ=UTC", "bash", "-c", "load {year}"],
        ["nice", "-n", "5", "/bin/sh", "-ec", "load {year}"],
    ],
)
def test_a_value_never_becomes_code(command):
    """A year of `2013; rm -r .` would be run."""
    with pytest.raises(InvalidDefinitionError, match="could become code") as caught:
        declared(f"command = {command}")

    assert "DAMA_PARAM_YEAR" in caught.value.hint
    assert declared("command = ['bash', '-c', 'load \"$1\"', 'bash', '{year}']")


@pytest.mark.parametrize(
    "command",
    [
        ["python", "load.py", "--config={year}"],
        ["psql", "-v", "year={year}", "-f", "load.sql"],
        ["psql", "--host=db-{year}", "-f", "load.sql"],
        ["node", "run.mjs", "--table={year}"],
        ["bash", "load.sh", "--year", "{year}"],
    ],
)
def test_a_value_may_be_an_argument_of_a_script(command):
    assert declared(f"command = {command}")


@pytest.mark.parametrize(
    "param", ["required = false", "list = true", "type = 'boolean', required = false"]
)
def test_an_option_is_not_left_behind_without_its_value(param):
    """It would take the next argument for its value."""
    params = f"year = {{ {param} }}"
    value = "{?year}y" if "boolean" in param else "{year}"

    with pytest.raises(InvalidDefinitionError, match="left out or repeated") as caught:
        declared(f"command = ['x', '--year', '{value}']", params)

    assert f'["--year", "{value}"]' in caught.value.hint
    assert declared(f"command = ['x', ['--year', '{value}']]", params)
    assert declared(f"command = ['x', ['--year'], '{value}']", params)


def test_two_lists_do_not_share_a_group():
    """Which goes with which nobody could say."""
    with pytest.raises(InvalidDefinitionError, match="the lists a and b"):
        declared("command = ['x', ['{a}', '{b}']]", "a = { list = true }\nb = { list = true }")


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        ('[programs.flights.import]\ncommand = ["x"]', "expected the name", '"flights.import"'),
        ('[programs.load]\ncommand = ["x"]', "expected the name", '"SERVICE.load"'),
        ('[programs."flights.Load"]\ncommand = ["x"]', "'Load' cannot be", "lower-case"),
        ('[programs."Flights.load"]\ncommand = ["x"]', "name of a service", "lower-case"),
        ('[programs]\n"flights.load" = ["x"]', "expected a table", ""),
    ],
)
def test_a_name_that_can_not_be_is_refused(text, message, hint):
    """A dot without quotes is the usual reason."""
    with pytest.raises(InvalidDefinitionError, match=message) as caught:
        registry_of(text)

    assert hint in (caught.value.hint or "")


def test_a_program_joins_the_service_that_a_module_has():
    """And reading the file again changes nothing."""
    registry = Registry([service := Service("flights", description="Flights.")])
    service.task(name="load")(lambda task: None)
    declarations = {"flights.import": {"command": ["x"]}}

    for _ in range(2):
        registry.add_programs(declarations, "dama.toml", Path("/project"))

    assert list(registry.tasks) == ["flights.load", "flights.import"]
    with pytest.raises(DuplicateNameError, match=r"test_declaration\.py.*and in dama\.toml"):
        registry.add_programs({"flights.load": {"command": ["x"]}}, "dama.toml", Path("/project"))


def test_a_service_may_declare_its_programs_in_python():
    """With the same keys; relative paths begin at the module."""
    flights = Service("flights")

    task = flights.program(
        "import",
        command=["./import.sh", ["--year", "{year}"]],
        params={"year": {"type": "integer", "required": False}},
        retries=2,
    )

    assert flights.tasks["import"] is task
    assert (task.options.retries, task.program.cwd) == (2, str(Path(__file__).parent))
    assert task.program.argv(task.encode_params({"year": 2013})) == [
        "./import.sh",
        "--year",
        "2013",
    ]
    assert task.place.startswith("test_declaration.py:")
    with pytest.raises(InvalidDefinitionError, match=r"test_declaration\.py:\d+: flights\.x\.nice"):
        flights.program("x", command=["x"], nice=99)


def test_every_key_is_documented():
    """What is not in the reference does not exist for a user."""
    text = (DOCS / "reference/programs.md").read_text()

    rows = [line.partition(" | ")[0] for line in text.splitlines() if line.startswith("| ")]
    documented = {name for row in rows for name in re.findall(r"`(\w+)`", row)}

    assert {*PROGRAM_KEYS, *PARAM_KEYS, *TYPES} <= documented


def test_the_declaration_of_the_guide_is_accepted():
    """It is what people copy."""
    text = (DOCS / "howto/declare-programs.md").read_text()

    program = task_of(re.search(r"```toml\n(.*?)```", text, re.DOTALL)[1]).program

    assert program.argv({"year": 2013, "check": False}) == ["./import.sh", "--year", "2013"]


def test_moments_may_be_written_with_quotes_or_without():
    """TOML has both."""
    params = """
    a = { type = "date", default = 2013-01-31 }
    b = { type = "date", default = "2013-01-31" }
    c = { type = "timestamp", default = 2013-01-31 }
    d = { type = "timestamp", default = "2013-01-31T12:00:00Z" }
    """

    found = declared("command = ['x']", params).arguments({})

    assert (found["a"], found["b"]) == (date(2013, 1, 31),) * 2
    assert found["c"].isoformat() == "2013-01-31T00:00:00"
    assert found["d"].isoformat() == "2013-01-31T12:00:00+00:00"
