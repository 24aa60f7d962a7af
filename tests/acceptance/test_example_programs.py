"""The example programs, started as a worker would: what they do and what they tell.

The arguments and variables are those of their declarations; the protocol's files are the test's.
"""

import json
import os
import shutil
import subprocess
from pathlib import Path

import psycopg
import pytest

from dama.config.config import load_config
from dama.definitions.registry import Registry
from dama.embedded.binaries import find_binaries

FOLDER = Path(__file__).parents[2] / "examples/programs"
MARK = "::dama:: "

needs_node = pytest.mark.skipif(shutil.which("node") is None, reason="Node.js is not installed")


@pytest.fixture(scope="module")
def programs():
    """The tasks of examples/programs/dama.toml."""
    config = load_config(cwd=FOLDER, environ={"HOME": "/nowhere"})
    registry = Registry()
    registry.add_programs(config.programs, config.source, config.project)
    return registry.tasks


@pytest.fixture
def start(programs, tmp_path):
    """Start a program by its declaration, with the files of the protocol."""

    def start(name, state=None, variables=None, **params):
        task = programs[name]
        kept = task.encode_params(params)
        files = {name: tmp_path / name.lower() for name in ("DAMA_EVENTS", "DAMA_RESULT")}
        for file in files.values():
            file.unlink(missing_ok=True)
        (artifacts := tmp_path / "artifacts").mkdir(exist_ok=True)
        (tmp_path / "state").write_text(json.dumps(state or {"steps": []}))
        done = subprocess.run(
            task.program.argv(kept),
            cwd=task.program.cwd,
            env={
                "PATH": f"{find_binaries()}:{os.environ['PATH']}",
                **task.program.environment(kept),
                **{name: str(file) for name, file in files.items()},
                "DAMA_ARTIFACTS": str(artifacts),
                "DAMA_STATE": str(tmp_path / "state"),
                **(variables or {}),
            },
            capture_output=True,
            text=True,
            check=False,
        )
        return Told(done, files, artifacts)

    return start


class Told:
    """What a program left behind."""

    def __init__(self, done, files, artifacts):
        self.code, self.stderr = done.returncode, done.stderr
        shown = [line.removeprefix(MARK) for line in done.stdout.splitlines() if MARK in line]
        self.stdout = done.stdout
        file = files["DAMA_EVENTS"]
        kept = file.read_text().splitlines() if file.exists() else []
        self.events = [json.loads(line) for line in [*shown, *kept]]
        result = files["DAMA_RESULT"]
        self.result = json.loads(result.read_text()) if result.exists() else None
        self.artifacts = artifacts

    def of_type(self, suffix):
        return [event for event in self.events if event["type"].endswith(suffix)]

    @property
    def steps(self):
        return [event["type"][1:].removesuffix(":DONE") for event in self.of_type(":DONE")]


def pg(url):
    """The PG* variables of a database."""
    found = psycopg.conninfo.conninfo_to_dict(url)
    names = {"host": "PGHOST", "port": "PGPORT", "dbname": "PGDATABASE", "user": "PGUSER"}
    return {names[key]: str(value) for key, value in found.items() if key in names}


PARTS = [
    pytest.param("weather.count-hours", {"hours": 498}, "hours.csv", id="bash"),
    pytest.param(
        "weather.mean-temperatures", {"EWR": 35.15, "JFK": 35.19, "LGA": 36.06}, "means.json",
        id="node", marks=needs_node,
    ),
]  # fmt: skip


@pytest.mark.parametrize(("name", "result", "artifact"), PARTS)
def test_a_program_tells_its_progress_its_result_and_an_artifact(
    start, tmp_path, name, result, artifact
):
    """With files and lines of text: no library is needed."""
    told = start(name, out=str(tmp_path / "out"))

    assert told.code == 0, told.stderr
    assert told.result == pytest.approx(result, abs=0.01)
    assert told.of_type(":PROGRESS")[-1]["payload"] == {"done": 3, "total": 3, "unit": "airports"}
    assert told.steps == ["EWR", "JFK", "LGA"]
    assert told.of_type(":ARTIFACT")[0]["payload"] == {"path": artifact}
    assert (told.artifacts / artifact).stat().st_size > 0


@pytest.mark.parametrize(("name", "result", "artifact"), PARTS)
def test_what_an_earlier_attempt_has_done_is_not_done_again(
    start, tmp_path, name, result, artifact
):
    """The state says which parts; the result is the same."""
    start(name, out=str(tmp_path / "out"))
    files = {file: file.stat().st_ino for file in (tmp_path / "out").iterdir()}

    told = start(name, state={"steps": ["EWR", "LGA"]}, out=str(tmp_path / "out"))

    assert told.steps == ["JFK"]
    assert told.result == pytest.approx(result, abs=0.01)
    same = {file.stem for file, inode in files.items() if file.stat().st_ino == inode}
    assert {"EWR", "LGA"} <= same


@pytest.mark.parametrize(("least", "code", "bad"), [(5, 0, 0), (20, 65, 6)])
def test_a_program_in_python_needs_nothing_of_dama(start, least, code, bad):
    """Its exit code says whether another attempt is worth it."""
    told = start("weather.check", least_hours=least)

    assert (told.code, len(told.result["bad"])) == (code, bad)
    assert len(told.steps) == told.result["days"] == 24
    assert told.of_type(":METRIC")[0]["payload"] == {"name": "bad_days", "value": bad}
    assert len(told.of_type(":WARN")) == bad
    again = start("weather.check", state={"steps": told.steps[:20]}, least_hours=least)
    assert again.steps == told.steps[20:]
    assert again.result == told.result


def test_a_script_of_psql_tells_and_goes_on_as_well(start, server, empty_database_url):
    """Without any other program; the step that loads is left out by the state."""
    variables = pg(empty_database_url)

    told = start("weather.report", variables=variables)
    again = start("weather.report", state={"steps": ["hours"]}, variables=variables, origins="EWR")

    assert (told.code, told.stderr) == (0, "")
    assert told.result["hours"] == 498
    assert told.of_type("/hours:DONE")[0]["payload"] == {"rows": 498}
    assert told.of_type(":PROGRESS")[-1]["payload"] == {"done": 2, "total": 2}
    assert (again.code, again.steps, again.result["hours"]) == (0, [], 166)
    assert (
        (again.artifacts / "report.csv").read_text().startswith("origin,hours,mean_temp\nEWR,166")
    )


@needs_node
def test_an_older_etl_is_taken_in_unchanged(start, server, empty_database_url):
    """It loads a day once, however often it runs; its own JSON lines are no events."""
    for _ in range(2):
        told = start(
            "weather.aggregate",
            variables=pg(empty_database_url),
            start_timestamp="2013-01-02T00:00:00",
            end_timestamp="2013-01-04T00:00:00",
            origins=["EWR", "JFK"],
        )

    assert told.code == 0, told.stderr
    assert told.events == []
    assert json.loads(told.stdout.splitlines()[-2])["days"] == 4
    with psycopg.connect(empty_database_url) as connection:
        found = connection.execute(
            "SELECT origin, day::text, hours FROM weather_days ORDER BY 1, 2"
        ).fetchall()
    assert found == [
        ("EWR", "2013-01-02", 24), ("EWR", "2013-01-03", 24),
        ("JFK", "2013-01-02", 24), ("JFK", "2013-01-03", 24),
    ]  # fmt: skip


@needs_node
def test_an_older_etl_writes_a_file_where_there_is_no_psql(start, tmp_path):
    """Node alone is enough."""
    told = start("weather.aggregate", variables={"PSQL": "/none"}, csv=str(tmp_path / "days.csv"))

    assert told.code == 0, told.stderr
    lines = (tmp_path / "days.csv").read_text().splitlines()
    assert lines[0] == "origin,day,hours,mean_temp,max_wind,precip"
    assert len(lines) == 1 + 21


@needs_node
@pytest.mark.parametrize(
    ("params", "variables", "code"),
    [
        ({}, {"PSQL": "/none"}, 75),
        ({}, {"PGHOST": "localhost", "PGPORT": "1"}, 75),
        ({"start_timestamp": "2014-01-01"}, {}, 65),
    ],
)
def test_the_exit_codes_of_an_older_etl_are_declared(start, programs, params, variables, code):
    """75 may go away, 65 will not."""
    codes = programs["weather.aggregate"].program.exit_codes

    assert start("weather.aggregate", variables=variables, **params).code == code
    assert code in (codes.retry if code == 75 else codes.fail)


def test_an_example_runs_without_dama_as_well(programs, tmp_path):
    """By hand, as before."""
    done = subprocess.run(
        ["./count_hours.sh", str(tmp_path)], cwd=FOLDER, capture_output=True, text=True, check=True
    )

    assert json.loads(done.stdout.splitlines()[-1]) == {"hours": 498}
