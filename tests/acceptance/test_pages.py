"""README and docs as a reader types them: every command, setting and snippet of every page."""

import re
import shlex
from pathlib import Path

import click
import pytest

from tests.acceptance.pages import (
    BLOCK,
    ROOT,
    Only,
    Page,
    Reader,
    Run,
    Shell,
    blocks,
    commands,
    look_alike,
)
from tests.interop.cluster import free_port

SMALL = '''"""Flights, but small."""
from dama import Service, Task

flights = Service("flights")


@flights.task
async def load(task: Task, year: int = 2013) -> int:
    """Load a year."""
    return year
'''
SMALL_PROJECT = {"flights.py": SMALL, "dama.toml": 'services = ["flights"]\n'}
REAL_PROJECT = {
    "examples": None,
    "dama.toml": 'services = ["examples.flights", "examples.approval"]\n',
}
PROGRAM = """[programs."flights.import"]
command = ["./import.sh", "--year", "{year}"]
params.year.type = "integer"
"""
IMPORT = '#!/bin/sh\necho "$@"\n'
SYSTEM = "it changes the machine"
SQL = {"sql": ""}  # no reason: it is run
ONE_CONTEXT = ("dama run flights.load",)
NUMBER = (("42", "1"),)
PRELUDE = """from datetime import date
from decimal import Decimal

from dama import Service, Task

models, flights, stock = Service("models"), Service("flights"), Service("stock")
"""
TASKS = """from dama import Service, Task
etl = Service("cursors")
fetch = insert = None
"""
ROWS = """from dama import Service, Slice, Task

loads = Service("loads")
rows = Slice("rows", initial={})


@rows.reducer
def loaded(state: dict[str, int], row: dict) -> dict[str, int]:
    return {**state, row["month"]: row["rows"]}


@loads.task
async def load(task: Task, months: int = 2) -> None:
    for month in range(months):
        await task.dispatch(loaded({"month": str(month), "rows": 10 * month}))
"""
FORKED = """from dama import Service, Task

loads, mail = Service("mails"), print
"""
CLEANING = """from dama import Service, Task
etl = Service("etl")
def drop_table(connection, table): ...
"""
DBOS = Only("DBOS is not installed: it is there to be read")
PLACED = Only("a declaration beside the one above")
BODY = Only("the body of a task, in names of the reader's")

FIRST_SYSTEM = """
DROP SCHEMA _data_manager_admin CASCADE; CREATE SCHEMA _data_manager_admin;
CREATE TABLE _data_manager_admin.etl_context (
  context_id serial PRIMARY KEY,
  parent_id int REFERENCES _data_manager_admin.etl_context ON DELETE CASCADE);
CREATE TABLE _data_manager_admin.event_store_prototype (
  event_id serial PRIMARY KEY, etl_context_id int NOT NULL REFERENCES
    _data_manager_admin.etl_context ON DELETE CASCADE,
  type text NOT NULL, payload jsonb, meta jsonb, error boolean);
INSERT INTO _data_manager_admin.etl_context (parent_id) VALUES (NULL), (1), (1), (NULL);
INSERT INTO _data_manager_admin.event_store_prototype (etl_context_id, type) VALUES
  (1, ':INITIAL'), (2, ':INITIAL'), (2, ':INITIAL'), (3, ':INITIAL'), (3, ':LOADED'), (3, ':FINAL'),
  (2, ':FINAL'), (1, ':FINAL'), (1, ':NOTED');
"""
ENVIRONMENTS = "test_environments.py has it, with databases of its own"
MOVES = "test_moves.py has it, with servers of its own"
PAGES = {
    "README.md": Page(
        files=REAL_PROJECT,
        changes=(("make demo", "dama run flights.load"),),
        ends={"--damage-month": 1},
        interrupted={"press Ctrl-C": "load-month.* started"},
        left_out={"make test": "these are the tests"},
        keeps=(Run("def write_greeting(name): ...\ndef count(task): ...\n"),),
        shown="dama run flights.load",
    ),
    "docs/concepts/comparison.md": Page(keeps=(DBOS, DBOS, DBOS)),
    "docs/tutorial/first-task.md": Page(
        keeps=("dama.toml", "loads.py", "+loads.py", "+loads.py"),
        ends={"--upto many": 2},
        left_out={"activate": "the environment is there", "DAMA_HOME": "the tests have a server"},
        shown="dama",
    ),
    "docs/concepts/tasks.md": Page(keeps=(Run(CLEANING),)),
    "docs/concepts/architecture.md": Page(others={"": "a drawing"}),
    "docs/concepts/security.md": Page(
        files=SMALL_PROJECT | {"secret.txt": "old word\n"},
        before=(*ONE_CONTEXT, "export OLD_KEY=another-word"),
        changes=NUMBER,
    ),
    "docs/howto/adopt.md": Page(
        files={"first.sql": FIRST_SYSTEM},
        before=("dama db psql -- -q -v ON_ERROR_STOP=1 -f first.sql",),
        others=SQL,
        shown="--dry-run",
    ),
    "docs/howto/clusters.md": Page(
        files=SMALL_PROJECT,
        left_out={
            "job.env": "the tests have a server",
            "sbatch pilot.sh": "tests/engines has a cluster",
            "kubectl": "of a cluster",
            "dama worker --launch": "runs until it is stopped; tests/engines has a cluster",
        },
        keeps=(
            Run(PRELUDE),
            "settings/dama.toml",
            PLACED,
            "settings/dama.toml",
            "settings/dama.toml",
        ),
    ),
    "docs/howto/clean-up.md": Page(keeps=(Run(CLEANING), BODY)),
    "docs/howto/bundles.md": Page(
        files=SMALL_PROJECT,
        before=ONE_CONTEXT * 2,
        changes=(("--pg-env test ", ""),),
    ),
    "docs/howto/fork.md": Page(
        files={"dama.toml": 'services = ["loads"]\n'},
        keeps=("loads.py", Run(FORKED)),
        changes=(("42", "1"), ("43", "2"), ("--at 3", "--at 4")),
        ends={"dama diff": 1},
    ),
    "docs/howto/data.md": Page(
        files={"dama.toml": 'services = ["loads"]\n'},
        keeps=("loads.py", "+loads.py", "+loads.py"),
        others=SQL,
    ),
    "docs/howto/singer.md": Page(
        left_out={"taps/postgres": "a tap of others, in an environment of its own"},
        keeps=(None, "tap_orders.py", "dama.toml", None),
        others=SQL,
    ),
    "docs/howto/dbt.md": Page(
        left_out={"tools/dbt": "an environment of its own", "dama": "of a project of dbt"},
        keeps=(None,),
    ),
    "docs/howto/openlineage.md": Page(
        files={
            "dama.toml": 'services = ["marts"]\n[openlineage]\ntransport = { type = "console" }\n'
        },
        left_out={"pip install": "the tests have it"},
        keeps=(None, "marts.py", None),
        others=SQL | {"": "of a worker whose endpoint is away"},
    ),
    "docs/howto/slice-tables.md": Page(
        files={"loads.py": ROWS, "dama.toml": 'services = ["loads"]\n'}, others=SQL
    ),
    "docs/howto/what-if.md": Page(
        files={
            "loads.py": ROWS,
            "next/loads.py": ROWS.replace('["rows"]}', '["rows"] // 20 * 20}'),
            "dama.toml": 'services = ["loads"]\n',
        },
        ends={"dama whatif": 1},
        shown="dama whatif",
    ),
    "docs/howto/approvals.md": Page(
        files=REAL_PROJECT,
        before=("dama run approval.publish --detach",),
        changes=(("42", "2"), ("43", "1")),
        behind={"events 2 -f": "approval"},
        keeps=(BODY, BODY),
    ),
    "docs/howto/databases.md": Page(
        left_out={
            **dict.fromkeys(("pg_", "createdb", "etl_restored"), MOVES),
            **dict.fromkeys(("dama db st", "data.15", "$NEW"), MOVES),
        },
        changes=(("etl@one,two/etl", "etl@one/etl"),),
        others={"sql": MOVES},
    ),
    "docs/howto/declare-programs.md": Page(
        files={
            "etl/import.sh": IMPORT,
            "Makefile": "report:\n\tsh etl/import.sh\n",
            "package.json": '{"scripts": {"build": "node build.js"}}\n',
        },
        before=("export PGPASSWORD=none",),
        changes=(("crontab -l", "printf '5 4 * * * /etl/import.sh\\n'"),),
        ends={"--year 13": 2},
        keeps=("dama.toml", "+dama.toml", Run(PRELUDE)),
    ),
    "docs/howto/deploy.md": Page(
        changes=((" | sudo tee /etc/systemd/system/dama-worker.service", ""),),
        ends={"dama doctor": 1},
        left_out={"systemctl": SYSTEM, "/srv/etl": SYSTEM},
        others={"yaml": "for a tool that this machine need not have"},
    ),
    "docs/howto/environments.md": Page(
        left_out=dict.fromkeys(("dama up", "dama ls", "dama run"), ENVIRONMENTS)
    ),
    "docs/howto/gateway.md": Page(
        files=SMALL_PROJECT,
        before=("dama worker",),
        changes=NUMBER,
        behind={
            "dama gateway": "The gateway is at",
            "dama worker": "A worker for",
            'curl -H "$token" -N': "INITIAL",
        },
        others={"nginx": "for a proxy that this machine need not have"},
    ),
    "docs/howto/pages.md": Page(
        files=SMALL_PROJECT,
        before=(*ONE_CONTEXT, "dama gateway"),
        changes=NUMBER,
        behind={"dama gateway": "The gateway is at"},
        keeps=(None,),
        others={"nginx": "it is for a proxy"},
    ),
    "docs/howto/housekeeping.md": Page(
        files=SMALL_PROJECT | {"old-password.txt": "old word\n"},
        before=(*ONE_CONTEXT, "export OLD_KEY=another-word"),
        changes=(
            *NUMBER,
            ("--older-than 90d", "--older-than 0s"),
            ("--older-than 365d", "--older-than 0s"),
        ),
        ends={"dama doctor": 1},
    ),
    "docs/howto/programs.md": Page(
        files={
            "legacy.sh": "#!/bin/sh\necho begun; sleep 300\n",
            "import.sh": IMPORT,
            "report.csv": "1\n",
            "dama.toml": PROGRAM,
            "state.json": '{"steps": ["march"]}\n',
        },
        before=(
            'export DAMA_EVENTS="$PWD/events" DAMA_RESULT="$PWD/result" DAMA_ARTIFACTS="$PWD"',
            'export DAMA_STATE="$PWD/state.json"',
        ),
        changes=(*NUMBER, ("cp report.csv", "cat report.csv > /dev/null && ls")),
        behind={"./legacy.sh": "begun", "logs 1 -f": "begun"},
    ),
    "docs/howto/python.md": Page(
        files={
            "etl/flights.py": SMALL,
            "dama.toml": 'services = ["etl.flights"]\n',
        },
        before=("dama worker",),
        behind={"dama worker": "A worker for"},
        keeps=(
            Run(),
            Run("import dama\nfrom etl.flights import load\n"),
            Only("a web application of the reader's"),
            Only("a web application of the reader's"),
        ),
    ),
    "docs/howto/roles.md": Page(
        changes=((" | dama db psql", " > /dev/null"), (" | psql ...", " > /dev/null")),
        others={"sql": "the role loader is the reader's: test_rights.py has each"},
    ),
    "docs/howto/schedules.md": Page(files=REAL_PROJECT),
    "docs/howto/services.md": Page(
        files={"dama.toml": 'services = ["stock"]\n'},
        keeps=("stock.py", Run(PRELUDE), None, Only("NATS is not there: tests/interop has it")),
        others={"js": "NATS is not there: tests/interop has it"},
        shown="dama call",
    ),
    "docs/howto/tasks.md": Page(
        files={"etl/loads.py": SMALL}, keeps=(Run(), Run(TASKS), "dama.toml", Run())
    ),
    "docs/howto/testing.md": Page(keeps=(Run(), Only("the file is the reader's"))),
    "docs/howto/workers.md": Page(
        files=SMALL_PROJECT,
        before=("dama run flights.load --enqueue --label none",),
        changes=(*NUMBER, ("dama up ", "dama up --port 0 ")),
        behind={"--until-idle": "", "dama up": "worker ", "dama worker ": "A worker for"},
        keeps=(Run(PRELUDE), Run(PRELUDE), Run(PRELUDE), BODY),
    ),
    "docs/reference/events.md": Page(
        files=SMALL_PROJECT,
        before=("dama run flights.load --enqueue",),
        changes=NUMBER,
        others=SQL,
    ),
    "docs/reference/log.md": Page(
        files=SMALL_PROJECT,
        before=ONE_CONTEXT,
        behind={"--all -f": "flights."},
        ends={"log resume": 4},
        changes=(("1000", "1"),),
        keeps=(Only("it follows the log without end"), Only("it follows the log without end")),
        others=SQL,
    ),
    "docs/reference/values.md": Page(keeps=(Run(PRELUDE),)),
    "examples/README.md": Page(
        left_out={"flights.load": "README types the same", "state CONTEXT": "README types the same"}
    ),
}
TEXTS = sorted(
    str(path.relative_to(ROOT))
    for path in [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("examples/**/*.md")]
)
ALL = [name for name in TEXTS if BLOCK.search((ROOT / name).read_text())]


def make(folder: Path, files: dict[str, str | None]) -> None:
    """The files that a reader has."""
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if content is None:
            path.symlink_to(ROOT / name)
            continue
        path.write_text(content)
        if content.startswith("#!"):
            path.chmod(0o755)


def with_port(page: Page, text: str) -> Page:
    """A page whose gateway has a port of its own."""
    port = str(free_port())
    own = (
        ("localhost:8080", f"localhost:{port}"),
        ("dama gateway ", f"dama gateway --port {port} "),
    )
    return Page(
        **{**vars(page), "changes": (*page.changes, *(each for each in own if each[0] in text))}
    )


@pytest.mark.timeout(300)
@pytest.mark.parametrize("name", ALL)
def test_a_page_works_as_it_is_typed(name, forked, database_url, tmp_path):
    """In its order, in a project of its own, and with the output that it shows."""
    page = with_port(PAGES.get(name, Page()), (ROOT / name).read_text())
    folder = tmp_path / "project"
    folder.mkdir()
    make(folder, page.files)
    shell = Shell(folder, forked.environ(DAMA_DATABASE_URL=database_url))
    reader = Reader(page, folder, shell, database_url)
    try:
        reader.read(blocks(ROOT / name))
    finally:
        shell.close(reader.pids)


def options_of(command: click.Command) -> set[str]:
    """The options of a command."""
    return {name for param in command.params for name in [*param.opts, *param.secondary_opts]}


@pytest.mark.parametrize(
    "name",
    [
        "README.md",
        "CONTRIBUTING.md",
        *(str(p.relative_to(ROOT)) for p in ROOT.glob("docs/**/*.md")),
    ],
)
def test_a_command_within_a_sentence_is_one(name):
    """`dama show 42` in a text names a command that is there, with options that it has."""
    from dama.cli.root import root

    context = click.Context(root)
    for span in re.findall(r"`(dama [a-z][^`]*)`", (ROOT / name).read_text()):
        words = shlex.split(re.sub(r"\s+", " ", span).replace("[", "").replace("]", ""))[1:]
        command = root
        known = set()
        while isinstance(command, click.Group) and words and command.name != "run":
            verb = words[0].rstrip(",;")
            if verb.startswith("-"):
                break
            words.pop(0)
            command = command.get_command(context, verb)
            assert command is not None, f"{span} in {name}"
        known |= options_of(command)
        options = {w.partition("=")[0] for w in words if re.match(r"--?[a-z]", w)}
        if command.name not in ("run", "unit"):
            assert options <= known | {"--help"}, f"{span} in {name}"


def test_outputs_are_compared_but_for_what_varies():
    shown = "task  status  time\nload  done    3.9 s\n...\n  dama show 1    params\n"

    look_alike(
        shown, "x\ntask  status  time\nload  done    12.0 s\n\n{\n}\n  dama show 1  params\n"
    )

    for other in ("task  status  time\nload  failed  3.9 s\n  dama show 1  params\n", "", "task\n"):
        with pytest.raises(AssertionError, match="The page shows"):
            look_alike(shown, other)


def test_commands_of_a_block_are_its_lines():
    assert commands("a \\\n    --b\n\nc  # d\n") == ["a --b", "c  # d"]
