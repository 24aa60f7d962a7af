"""Drafts: what is read out of the scripts, Makefiles, packages and crontabs that people have."""

import re
import tomllib
from pathlib import Path

import pytest

from dama.definitions.registry import Registry
from dama.drafts.crontab import draft_crontab
from dama.drafts.draft import write_toml
from dama.drafts.source import draft_source
from dama.errors import InvalidDefinitionError

IMPORT_SH = """#!/bin/bash
# Import a year of departures. Called by hand since 2009.
set -euo pipefail
: "${PGHOST:?}"
usage() { echo "usage: $0 [-v] -y YEAR FILE" >&2; }
fetch() {
  curl -sf "$1" -o "$2"
}
while getopts "vy:h" opt; do
  case $opt in
    v) set -x ;;
    y) year=$OPTARG ;;
    h) usage; exit 0 ;;
  esac
done
shift $((OPTIND - 1))
psql "$PGDATABASE" -v year="$year" -f load.sql < "${1:-data.csv}"
"""
SYNC_SH = """# Copy new files.
while [ $# -gt 0 ]; do
  case "$1" in
    --since) since="$2"; shift 2 ;;
    --dry-run|-n) dry=1; shift ;;
    --into=*) into="${1#*=}"; shift ;;
  esac
done
"""
ARGPARSE_PY = '''"""Compute the delays of a year.

Longer text.
"""
import argparse, os

parser = argparse.ArgumentParser()
parser.add_argument("file")
parser.add_argument("--year", type=int, required=True, help="Year to load")
parser.add_argument("--pg_env", default="local")
parser.add_argument("-a", "--airport", choices=["EWR", "JFK"])
parser.add_argument("--months", type=int, nargs="+")
parser.add_argument("--tag", action="append")
parser.add_argument("--dry-run", action="store_true")
parser.add_argument("--password")
token = os.environ["API_TOKEN"]
home = os.getenv("ETL_HOME")
'''
CLICK_PY = """#!/usr/bin/env python3
import click

@click.command()
@click.option("--since", type=click.DateTime(), required=True)
@click.option("--ratio", type=float, default=0.5, show_default=True)
@click.option("--check/--no-check", default=True)
@click.option("--state", multiple=True)
@click.argument("target", type=click.Path())
def main(since, ratio, check, state, target):
    ...
"""
COMMANDER_MJS = """#!/usr/bin/env node
// Aggregate speeds by segment.
import { program } from 'commander';
program
  .requiredOption('--pg_env <name>', 'The PostgreSQL environment')
  .requiredOption('-s, --start_timestamp <ts>', "First moment")
  .option('--end_timestamp <ts>', 'Last moment', '2013-12-31T23:00:00')
  .option('--limit <n>', 'Rows', 100)
  .option('--states <names...>', 'States')
  .option('--verbose', 'Say more');
const key = process.env.HERE_API_KEY;
"""
YARGS_JS = """
const argv = require('yargs')
  .option('year', { type: 'number', demandOption: true, describe: 'Data year' })
  .option('mode', { type: 'string', default: 'full' })
  .argv;
"""
MODEL_R = """#!/usr/bin/env Rscript
# Fit the model.
library(optparse)
opts <- parse_args(OptionParser(option_list = list(
  make_option(c("-y", "--year"), type = "integer", default = 2013L, help = "Year"),
  make_option("--plot", action = "store_true", default = FALSE)
)))
"""
REPORT_SQL = """-- Publish the report.
-- not :this
SELECT count(*) FROM flights WHERE year = :year AND origin = :'origin' AND t > '12:30:15 :no';
SELECT x::text, a[1:n] FROM :"schema".t;
"""


@pytest.fixture
def etl(tmp_path):
    """A folder as it grows in ten years."""
    folder = tmp_path / "etl"
    folder.mkdir()
    texts = {
        "import.sh": IMPORT_SH, "sync.sh": SYNC_SH, "delays.py": ARGPARSE_PY,
        "clicked.py": CLICK_PY,
        "aggregate.mjs": COMMANDER_MJS, "old.js": YARGS_JS, "model.R": MODEL_R,
        "report.sql": REPORT_SQL, "report.psql": "SELECT 1;\n", "Makefile": "all:\n\ttrue\n",
        "python2.py": "import sys\nprint 'year', sys.argv[1]\n",
        "util.py": "def helper():\n    pass\n", "__init__.py": "",
        "util.js": "module.exports = { add: (a, b) => a + b };\n",
        "nightly": "#!/bin/sh\n# Load all that is new.\nexec ./import.sh -y 2013\n",
        "windows": "#!/bin/bash\r\necho\r\n", "notes.txt": "$1 --year\n", ".hidden.sh": "true\n",
        "README.md": "#!/not/a/program\n", "2013 data.sh": "echo $1 ${2:-7}\n",
    }  # fmt: skip
    for name, text in texts.items():
        (folder / name).write_text(text, newline="")
    (folder / "core.sh").write_bytes(b"\x7fELF\0\0")
    for name in ("import.sh", "clicked.py", "aggregate.mjs", "nightly", "windows"):
        (folder / name).chmod(0o755)
    (folder / "lib").mkdir()
    return folder


def drafts_of(source, **options):
    base = source if source.is_dir() else source.parent
    return draft_source(source, base.parent, **options)


def by_name(drafts):
    return {draft.name.partition(".")[2]: draft for draft in drafts.programs}


def option(draft, name):
    (found,) = [each for each in draft.options if each.name == name]
    return found


def accepted(text, base):
    """The tasks of a text, as it is and with all suggestions taken."""
    registry = Registry()
    registry.add_programs(tomllib.loads(text).get("programs", {}), "dama.toml", base)
    replaced = re.compile(r"^command = (.*\n(?:(?!\[|#command).*\n)*)#command", re.MULTILINE)
    suggested = replaced.sub(r"# \1command", text)
    taken = re.sub(r"(?m)^#(?=[a-z\[])", "", suggested)
    Registry().add_programs(tomllib.loads(taken).get("programs", {}), "dama.toml", base)
    return registry.tasks


def test_every_script_of_a_folder_becomes_a_program(etl):
    """By its shebang when it may be started, else by its ending."""
    found = by_name(drafts_of(etl))

    assert {name: draft.command for name, draft in found.items()} == {
        "p-2013-data": ("bash", "2013 data.sh"),
        "aggregate": ("./aggregate.mjs",),
        "clicked": ("./clicked.py",),
        "delays": ("python3", "delays.py"),
        "import": ("./import.sh",),
        "model": ("Rscript", "model.R"),
        "nightly": ("./nightly",),
        "old": ("node", "old.js"),
        "python2": ("python3", "python2.py"),
        "report": ("psql", "--no-psqlrc", "--set=ON_ERROR_STOP=1", "--file=report.psql"),
        "report-sql": ("psql", "--no-psqlrc", "--set=ON_ERROR_STOP=1", "--file=report.sql"),
        "sync": ("bash", "sync.sh"),
        "windows": ("/bin/bash", "windows"),
    }
    assert {draft.cwd for draft in found.values()} == {"etl"}
    assert found["import"].help == "Import a year of departures."
    assert found["delays"].help == "Compute the delays of a year."
    assert found["aggregate"].help == "Aggregate speeds by segment."
    assert found["report-sql"].help.startswith("Publish the report.")


def test_what_is_passed_over_is_said(etl):
    """Nobody should have to wonder where a script is."""
    notes = "\n".join(drafts_of(etl).notes)

    for words in ("lib/", "util.py looks like a module", "util.js looks like", "more in Makefile"):
        assert words in notes


@pytest.mark.parametrize(
    ("script", "name", "parts", "facts"),
    [
        ("import", "option_y", (("-y", "{option_y}"),), {}),
        ("import", "option_v", ("-v{?option_v}",), {"type": "boolean"}),
        ("import", "arg_1", ("{arg_1}",), {"default": "data.csv", "required": False}),
        ("p-2013-data", "arg_2", ("{arg_2}",), {"default": 7, "type": "integer"}),
        ("sync", "since", (("--since", "{since}"),), {}),
        ("sync", "dry_run", ("--dry-run{?dry_run}",), {"type": "boolean"}),
        ("sync", "into", ("--into={into}",), {}),
        ("delays", "file", ("{file}",), {"required": True}),
        ("delays", "year", ("--year", "{year}"), {"type": "integer", "help": "Year to load"}),
        ("delays", "pg_env", ("--pg_env", "{pg_env}"), {"default": "local"}),
        ("delays", "airport", (("--airport", "{airport}"),), {"choices": ("EWR", "JFK")}),
        ("delays", "months", ("--months{?months}", "{months}"), {"list": True}),
        ("delays", "tag", (("--tag", "{tag}"),), {"list": True}),
        ("delays", "dry_run", ("--dry-run{?dry_run}",), {"type": "boolean"}),
        ("clicked", "since", ("--since", "{since}"), {"type": "timestamp", "required": True}),
        ("clicked", "ratio", ("--ratio", "{ratio}"), {"type": "number", "default": 0.5}),
        ("clicked", "check", ("--check{?check}",), {"type": "boolean"}),
        ("clicked", "state", (("--state", "{state}"),), {"list": True}),
        ("clicked", "target", ("{target}",), {"required": True}),
        ("aggregate", "pg_env", ("--pg_env", "{pg_env}"), {"required": True}),
        ("aggregate", "start_timestamp", ("--start_timestamp", "{start_timestamp}"), {}),
        ("aggregate", "end_timestamp", ("--end_timestamp", "{end_timestamp}"),
         {"default": "2013-12-31T23:00:00", "help": "Last moment"}),
        ("aggregate", "limit", ("--limit", "{limit}"), {"type": "integer", "default": 100}),
        ("aggregate", "states", ("--states{?states}", "{states}"), {"list": True}),
        ("aggregate", "verbose", ("--verbose{?verbose}",), {"type": "boolean"}),
        ("old", "year", ("--year", "{year}"), {"type": "number", "required": True}),
        ("old", "mode", ("--mode", "{mode}"), {"default": "full"}),
        ("python2", "arg_1", None, None),
        ("model", "year", ("--year", "{year}"), {"type": "integer", "default": 2013}),
        ("model", "plot", ("--plot{?plot}",), {"type": "boolean"}),
        ("report-sql", "year", ("--set=year={year}",), {"required": True}),
    ],
)  # fmt: skip
def test_the_options_of_a_script_are_found_by_looking(etl, script, name, parts, facts):
    """What cannot be parsed (Python 2) has none rather than wrong ones."""
    draft = by_name(drafts_of(etl))[script]

    if parts is None:
        assert draft.options == ()
        return
    found = option(draft, name)
    assert found.parts == parts
    assert {key: getattr(found, key) for key in facts} == facts


def test_what_is_no_option_is_not_taken_for_one(etl):
    """Comments, casts, times, slices and arguments of functions."""
    found = by_name(drafts_of(etl))

    assert [o.name for o in found["report-sql"].options] == ["origin", "schema", "year"]
    assert [o.name for o in found["import"].options] == ["option_v", "option_y", "arg_1"]
    assert found["nightly"].options == ()
    assert any("trust callers" in note for note in found["report-sql"].notes)
    assert not any("trust callers" in note for note in found["report"].notes)


def test_a_draft_is_accepted_as_it_is_and_with_its_suggestions(etl, tmp_path):
    """Suggestions are comments: a person takes the # away."""
    text = write_toml(drafts_of(etl))

    tasks = accepted(text, tmp_path)

    assert tasks["etl.delays"].program.argv({}) == ["python3", "delays.py"]
    assert tasks["etl.delays"].program.cwd == str(etl)
    assert '#command = ["python3", "delays.py", "{file}", "--year", "{year}", ' in text
    assert '#params.year = { type = "integer", help = "Year to load" }' in text


def test_secrets_of_scripts_are_named_and_no_params(etl):
    """An argument is seen by everybody; a variable is passed on and never recorded."""
    found = by_name(drafts_of(etl))
    text = write_toml(drafts_of(etl))

    assert found["delays"].secrets == ("API_TOKEN",)
    assert found["aggregate"].secrets == ("HERE_API_KEY",)
    assert "It seems to read the variables ETL_HOME." in found["delays"].notes
    assert "It seems to take password: arguments are seen by others." in text
    assert "{password}" not in text


MAKEFILE = """# Variables
YEAR ?= 2013
SHELL := /bin/bash
BUILD = build
SCHEMA ?= $(shell date +%Y)
export PGPASSWORD ?= hunter2
define HELP
target: not one
endef

.PHONY: all load clean
.DEFAULT_GOAL := all

all: load report ## Do all of it.

# Load a year of departures.
load: $(BUILD)/flights.csv
\tpsql -v year=$(YEAR) -v schema=$(SCHEMA) -v state=$(STATE) -f load.sql
\techo $$HOME $(PGPASSWORD) \\
\t  $(MAKE)

report: YEAR = 2014
report: ; ./report.sh $(YEAR)
clean:
\trm -rf $(BUILD)
$(BUILD)/flights.csv: fetch.sh
\t./fetch.sh
%.o: %.c
\tcc $<
data.csv: load
ifdef DEBUG
endif
"""


def test_the_targets_of_a_makefile_become_programs(tmp_path):
    """Not its patterns and files; what may be set is suggested with its default."""
    (tmp_path / "etl").mkdir()
    (path := tmp_path / "etl/Makefile").write_text(MAKEFILE)
    drafts = drafts_of(path)
    found = by_name(drafts)

    assert {name: d.command for name, d in found.items()} == {
        name: ("make", name) for name in ("all", "load", "report", "clean")
    }
    assert (found["all"].help, found["load"].help) == (
        "Do all of it.", "Load a year of departures.",
    )  # fmt: skip
    assert option(found["load"], "year").parts == ("YEAR={year}",)
    assert option(found["load"], "year").default == 2013
    assert option(found["load"], "state").required
    assert not option(found["load"], "schema").required
    assert [o.name for o in found["load"].options] == ["year", "schema", "state"]
    assert found["load"].secrets == ("PGPASSWORD",)
    text = write_toml(drafts)
    assert "hunter2" not in text
    assert "data.csv" in text
    assert any("trust callers" in note for note in found["load"].notes)
    assert accepted(text, tmp_path)["etl.load"].program.cwd == str(tmp_path / "etl")


def test_a_makefile_of_another_name_is_named(tmp_path):
    (path := tmp_path / "load.mk").write_text("load:\n\ttrue\n")

    assert drafts_of(path, service="x").programs[0].command == ("make", "-f", "load.mk", "load")


PACKAGE = """{
  "name": "etl",
  "scripts": {
    "prebuild": "rm -rf out",
    "build": "tsc",
    "etl:speeds": "node src/speeds.mjs",
    "both": "npm run build && node src/speeds.mjs",
    "prepare": "husky",
    "db": "psql postgresql://me:hunter2@db/etl -f x.sql"
  }
}"""


@pytest.mark.parametrize(("lock", "manager"), [(None, "npm"), ("pnpm-lock.yaml", "pnpm")])
def test_the_scripts_of_a_package_become_programs(tmp_path, lock, manager):
    """Those that npm runs by itself are left out; options of the script behind are suggested."""
    (folder := tmp_path / "etl" / "src").mkdir(parents=True)
    (folder / "speeds.mjs").write_text(COMMANDER_MJS)
    (path := tmp_path / "etl/package.json").write_text(PACKAGE)
    if lock:
        (tmp_path / "etl" / lock).write_text("")
    drafts = drafts_of(path)
    found = by_name(drafts)

    assert sorted(found) == ["both", "build", "db", "etl-speeds"]
    assert found["etl-speeds"].command == (manager, "run", "--silent", "etl:speeds")
    first = option(found["etl-speeds"], "pg_env").parts
    assert first == (("--",) if manager == "npm" else ()) + ("--pg_env", "{pg_env}")
    assert found["both"].options == ()
    text = write_toml(drafts)
    assert "hunter2" not in text
    assert "an address with a password" in text
    accepted(text, tmp_path)


CRONTAB = r"""# m h dom mon dow command
SHELL=/bin/bash
PATH="/usr/local/bin:/usr/bin"
MAILTO=team@example.org
CRON_TZ=America/New_York
PGPASSWORD=hunter2

# Load what is new.
15 2 * * 1-5  /opt/etl/nightly.sh --year 2013 >> /var/log/nightly.log 2>&1
*/10 * * * *  cd /opt/etl && node speeds.mjs --pg_env lab > /dev/null 2>&1
@daily  PGHOST=lab API_TOKEN=hunter2 python3 /opt/etl/delays.py
0 4 * * sun  pg_dump etl | gzip > /backup/$(date +\%F).gz
@reboot  /opt/etl/daemon
5 4 1 jan *  mail team%Hello
0 5 * * *  awk '{print}' /tmp/x | sh -c 'TOKEN=hunter2 curl x --password=hunter2'
this is no entry
"""


def test_the_lines_of_a_crontab_become_programs_with_their_schedules(tmp_path):
    """Plain commands become arguments; what needs a shell keeps it, as one text."""
    drafts = draft_crontab("crontab", CRONTAB, "cron")
    found = by_name(drafts)

    assert found["nightly"].command == ("/opt/etl/nightly.sh", "--year", "2013")
    assert found["nightly"].help == "Load what is new."
    assert found["nightly"].env == {"PATH": "/usr/local/bin:/usr/bin"}
    assert (found["speeds"].cwd, found["speeds"].command[0]) == ("/opt/etl", "node")
    assert found["delays"].env["PGHOST"] == "lab"
    assert found["delays"].secrets == ("PGPASSWORD", "API_TOKEN")
    assert found["pg_dump"].command == (
        "/bin/bash", "-c", "pg_dump etl | gzip > /backup/$(date +%F).gz",
    )  # fmt: skip
    assert found["mail"].command[-1] == "mail team <<'END'\nHello\nEND"
    text = write_toml(drafts)
    for line in (
        '# dama schedule add nightly cron.nightly --cron "15 2 * * 1-5" --zone America/New_York',
        '# dama schedule add delays cron.delays --cron "0 0 * * *" --zone America/New_York',
        "# Its output went to /var/log/nightly.log; dama keeps it.",
        "# Line 16 is no entry: this is no entry",
        "when the machine started",
    ):
        assert line in text
    assert "hunter2" not in text
    assert "# Line 15 holds a value for TOKEN, so it is not repeated here." in text
    accepted(text, tmp_path)


def test_a_crontab_of_the_system_has_users():
    """As /etc/crontab says in its first lines."""
    text = "# m h dom mon dow user command\n17 * * * * root cd / && run-parts /etc/cron.hourly\n"

    (draft,) = draft_crontab("crontab", text, "cron").programs

    assert (draft.command, draft.cwd) == (("run-parts", "/etc/cron.hourly"), "/")
    assert "cron ran it as the user root." in draft.notes


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("none", None, "There is no"),
        ("notes.txt", "hello\n", "has no entry of a crontab"),
        ("package.json", "{", "is not valid JSON"),
        ("package.json", '{"scripts": []}', "expected a table"),
        ("crontab", b"\xff\xfe", "cannot be read"),
    ],
)
def test_a_source_that_is_none_of_these_is_refused(tmp_path, name, text, words):
    """With what is wanted."""
    path = tmp_path / name
    if text is not None:
        path.write_bytes(text if isinstance(text, bytes) else text.encode())

    with pytest.raises(InvalidDefinitionError, match=words):
        draft_source(path, tmp_path)


def test_nothing_is_run(tmp_path):
    """Not a script, not a shebang, not a function of make."""
    mark = tmp_path / "ran"
    (etl := tmp_path / "etl").mkdir()
    (etl / "a.sh").write_text(f"#!/bin/sh\ntouch {mark}\n")
    (etl / "a.sh").chmod(0o755)
    (etl / "b.py").write_text(f"import pathlib, sys\npathlib.Path('{mark}').touch()\n")
    (etl / "Makefile").write_text(f"X := $(shell touch {mark})\nall: ; touch {mark}\n")

    for source in (etl, etl / "Makefile"):
        write_toml(drafts_of(source))

    assert not mark.exists()


def test_the_project_itself_can_be_drafted(tmp_path):
    """Its own Makefile is one of the wild."""
    root = Path(__file__).parents[3]

    text = write_toml(draft_source(root / "Makefile", root))

    assert {"test", "check", "clean"} <= {n.partition(".")[2] for n in accepted(text, root)}
