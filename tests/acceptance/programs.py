"""A project of programs, its workers, and ways to look at what they do."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import psycopg
import pytest

from dama.programs.run_directory import RunDirectories
from tests.acceptance.command import Command
from tests.integration.programs import PATIENCE

DAMA = str(Path(sys.executable).with_name("dama"))
LINES = {
    "bash": """
i=0
while [ ! -e "$1" ]; do
    i=$((i + 1)); echo "line $i"
    printf '{"type": "tick", "payload": %d}\\n' $i >> "$DAMA_EVENTS"
    sleep 0.01
done
echo $i > "$(dirname "$DAMA_EVENTS")/last"; exit 3
""",
    "python": """
import json, os, sys, time
i = 0
while not os.path.exists(sys.argv[1]):
    i += 1
    print("line", i)
    print("::dama:: " + json.dumps({"type": "tick", "payload": i}))
    time.sleep(0.01)
open(os.path.dirname(os.environ["DAMA_EVENTS"]) + "/last", "w").write(str(i))
sys.exit(4)
""",
    "node": """
const fs = require('fs'), path = require('path');
let i = 0;
const timer = setInterval(() => {
  if (fs.existsSync(process.argv[1])) {
    fs.writeFileSync(path.dirname(process.env.DAMA_EVENTS) + '/last', String(i));
    process.exit(5);
  }
  i += 1;
  console.log('line ' + i);
  fs.appendFileSync(process.env.DAMA_EVENTS, JSON.stringify({ type: 'tick', payload: i }) + '\\n');
}, 10);
""",
}
# A row of the gate ends it: the statements that are left do nothing.
TICKS_OF_PSQL = r"""
\getenv context DAMA_CONTEXT_ID
\getenv epoch DAMA_EPOCH
SELECT format('SELECT _data_manager_admin.dispatch(%s, ''tick'', ''%s'', ''{"epoch": %s}''), '
              'pg_sleep(0.02) WHERE NOT EXISTS (SELECT FROM gate)', :context, i, :epoch)
  FROM generate_series(1, 3000) i
\gexec
"""
CODES = {"bash": 3, "python": 4, "node": 5}
COMMANDS = {
    "bash": ["bash", "-c", LINES["bash"], "bash"],
    "python": [sys.executable, "-c", LINES["python"]],
    "node": ["node", "-e", LINES["node"]],
}
needs_node = pytest.mark.skipif(shutil.which("node") is None, reason="Node.js is not installed")


class Project:
    """A folder of programs, its workers, and the database behind.

    Args:
        folder: Where they are declared.
        url: The database.
        forked: What its commands are started by; its workers have a start of their own.
    """

    def __init__(self, folder, url, forked):
        self.folder = folder
        self.gate = folder / "gate"
        self.environ = {**os.environ, "DAMA_DATABASE_URL": url}
        self._command = Command(folder, forked.environ(DAMA_DATABASE_URL=url))
        self.database = psycopg.connect(url, autocommit=True)
        self.workers = []
        self.declared = {name: [*command, str(self.gate)] for name, command in COMMANDS.items()}
        self.settings = {}
        self.write()

    def declare(self, name, *command, **settings):
        """Declare one more program."""
        self.declared[name] = command
        self.settings[name] = settings
        self.write()

    def write(self):
        """Write what is declared."""
        tables = []
        for name, command in self.declared.items():
            values = {"command": command, **self.settings.get(name, {})}
            lines = [f"{key} = {json.dumps(value)}" for key, value in values.items()]
            tables.append("\n".join([f'[programs."p.{name}"]', *lines]))
        (self.folder / "dama.toml").write_text("\n\n".join(tables))

    def open_gate(self):
        """Let the programs end."""
        self.gate.touch()
        self.database.execute("CREATE TABLE IF NOT EXISTS gate ()")
        self.database.execute("INSERT INTO gate DEFAULT VALUES")

    def dama(self, *arguments, check=True):
        """Run a command to its end."""
        return self._command(*arguments, check=check)

    def worker(self, *prefix, slots=32, grace=5):
        """Start one; behind a command, if any is named."""
        process = subprocess.Popen(
            [*prefix, DAMA, "worker", "--grace", str(grace), "--slots", str(slots)],
            cwd=self.folder,
            env=self.environ,
            stderr=subprocess.DEVNULL,
        )
        self.workers.append(process)
        return process

    def kill_worker(self):
        """As the kernel would: nobody is asked."""
        self.workers[-1].kill()
        self.workers[-1].wait()

    def enqueue(self, name):
        """Queue a program; give its context. Without a process, so that twenty take no time."""
        start = {"task": f"p.{name}", "event": {"type": f"p.{name}:INITIAL", "payload": {}}}
        ((context_id,),) = self.database.execute(
            "SELECT context_id FROM _data_manager_admin.start_contexts(%s)", [json.dumps([start])]
        ).fetchall()
        return context_id

    def directory(self, context_id):
        """The files of its latest run, once they are there."""
        (folder,) = wait_for(lambda: list(Path(os.environ["DAMA_HOME"], "runs").iterdir()))
        return wait_for(lambda: RunDirectories(folder).of_context(context_id))[-1]

    def events(self, context_id):
        """The types and payloads of its events."""
        return self.database.execute(
            "SELECT type, payload, meta FROM _data_manager_admin.event_store_prototype"
            " WHERE etl_context_id = %s ORDER BY version",
            [context_id],
        ).fetchall()

    def types(self, context_id):
        """The types of its events, but for its ticks."""
        return [
            type_.rpartition(":")[2] for type_, _, _ in self.events(context_id) if type_ != "tick"
        ]

    def ticks(self, context_id):
        """What it counted."""
        return [payload for type_, payload, _ in self.events(context_id) if type_ == "tick"]

    def close(self):
        """End workers and programs."""
        for process in self.workers:
            process.kill()
            process.wait()
        for folder in Path(os.environ["DAMA_HOME"], "runs").glob("*"):
            for directory in RunDirectories(folder).open():
                for pid in (directory.shim(), directory.pid()):
                    with suppress(ProcessLookupError, TypeError):
                        os.kill(pid, signal.SIGKILL)
        self.database.close()


def wait_for(find):
    """Give what is found, once it is."""
    found = []
    deadline = time.monotonic() + PATIENCE
    while not found:
        assert time.monotonic() < deadline
        time.sleep(0.01)
        with suppress(FileNotFoundError):
            found = find()
    return found


def assert_whole(project, context, directory, code):
    """Nothing is missing and nothing is there twice."""
    last = int((directory.path / "last").read_text())
    assert project.ticks(context) == list(range(1, last + 1))
    lines = [s for s in directory.stdout.read_text().splitlines() if s.startswith("line")]
    assert lines == [f"line {i}" for i in range(1, last + 1)]
    _, payload, meta = project.events(context)[-1]
    assert payload["data"]["exit_code"] == code
    assert meta["program"]["code"] == code
