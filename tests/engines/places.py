"""A project whose tasks a launcher places on the cluster of the tests, and what is typed in it."""

import json
import os
import signal
import subprocess
from contextlib import suppress
from pathlib import Path
from typing import Any

import psycopg

from dama.programs.process import process_start
from tests.acceptance.command import Command
from tests.engines.slurm import Slurm, wait_until

PROJECT = """
import asyncio, os, signal
from pathlib import Path
from dama import Service, Task

jobs = Service("jobs")


@jobs.task(launcher="there", resources={"cpus": 1, "memory": "64MiB"})
async def where(task: Task, number: int = 0) -> dict[str, object]:
    if number == 13:
        raise ValueError("an unlucky number")
    return {"node": os.environ.get("SLURMD_NODENAME", "here"), "number": number}


@jobs.task(launcher="there", resources={"cpus": 16, "time": "5m"})
async def steps(task: Task, folder: str, count: int = 3) -> int:
    done = 0
    for n in range(count):
        done += await task.step(f"step-{n}", one_step, folder, n)
    return done


async def one_step(folder: str, n: int) -> int:
    with Path(folder, "done").open("a") as file:
        file.write(f"{n} {os.environ.get('SLURMD_NODENAME', 'here')}\\\\n")
    while n and Path(folder, "hold").exists():
        await asyncio.sleep(0.05)
    return 1


@jobs.task(launcher="there", crashes=1)
def dies(task: Task, how: str) -> None:
    if how == "memory":
        os.write(2, b"slurmstepd: error: Detected 1 oom_kill event\\\\n")
    os.kill(os.getpid(), signal.SIGKILL)


@jobs.task(launcher="there", resources={"memory": "1TB"})
async def too_big(task: Task) -> None:
    pass


@jobs.task()
async def all_of(task: Task, count: int = 4) -> list[object]:
    return await task.map(where, [{"number": n} for n in range(count)], limit=3)
"""
SETTINGS = """
services = ["jobs"]

[programs."jobs.exits"]
command = ["sh", "-c", "echo said; exit 137"]
launcher = "there"

[programs."jobs.stays"]
command = ["sh", "-c", "echo began; setsid sleep 1000 & sleep 1000"]
launcher = "there"
grace = "1s"

[launchers.there]
look = "500ms"
timeout = "4s"
lease = "8s"
"""
KINDS = {
    "slurm": 'kind = "slurm"\n',
    "command": """kind = "command"
submit = ["./submit"]
list = ["squeue", "--noheader", "--me", "--states=all",
        "--Format=JobID:20|,Name:80|,State:20|,Reason:40|,NodeList:30|,exit_code:12"]
cancel = ["scancel"]

[launchers.there.states]
PENDING = "pending"
CONFIGURING = "pending"
RUNNING = "running"
COMPLETING = "running"
COMPLETED = "done"
FAILED = "failed"
NODE_FAIL = "lost"
TIMEOUT = "time"
CANCELLED = "cancelled"
""",
}
SUBMIT = """\
#!/bin/sh
sbatch --parsable --no-requeue --export=NIL --chdir=/ --job-name="$DAMA_JOB" \\
    --output="$DAMA_JOB_LOG" --cpus-per-task="${DAMA_JOB_CPUS:-1}" \\
    --mem="${DAMA_JOB_MEMORY_MB:-64}M" 2>"$DAMA_JOB_LOG.err" && exit
cat "$DAMA_JOB_LOG.err" >&2
grep -qi "memory specification" "$DAMA_JOB_LOG.err" && exit 65
exit 1
"""


class Place:
    """A project with a launcher.

    Args:
        dama: The command, in its folder.
        slurm: The cluster.
        kind: Of the launcher.
    """

    def __init__(
        self,
        dama: Command,
        slurm: Slurm,
        kind: str,
        project: str = PROJECT,
        settings: str | None = None,
    ) -> None:
        self.dama = dama
        self.slurm = slurm
        self.kind = kind
        self._workers: list[subprocess.Popen[bytes]] = []
        (dama.folder / "jobs.py").write_text(project)
        (dama.folder / "dama.toml").write_text(settings or SETTINGS + KINDS[kind])
        submit = dama.folder / "submit"
        submit.write_text(SUBMIT)
        submit.chmod(0o755)

    @property
    def home(self) -> Path:
        """DAMA_HOME."""
        return Path(self.dama.environ["DAMA_HOME"])

    def sql(self, statement: str, *params: object) -> list[tuple[Any, ...]]:
        """What a statement returns; without the start of a command."""
        with psycopg.connect(self.dama.environ["DAMA_DATABASE_URL"], autocommit=True) as connection:
            return connection.execute(statement.encode(), params).fetchall()

    def start(self, task: str, *options: object) -> int:
        """Queue a run; its context."""
        done = self.dama("run", task, *options, "--enqueue", "--json", check=True)
        return json.loads(done.stdout)["context_id"]

    def events(self, context: int) -> list[tuple[str, Any]]:
        """The kinds of the events of a context, with their payloads."""
        found = self.sql(
            "SELECT split_part(type, ':', 2), payload FROM "
            "_data_manager_admin.event_store_prototype WHERE etl_context_id = %s ORDER BY version",
            context,
        )
        return [(kind, payload) for kind, payload in found]

    def kinds(self, context: int) -> list[str]:
        """The kinds of the events of a context, those of steps aside."""
        return [kind for kind, _ in self.events(context) if kind.isupper() and kind != "DONE"]

    def run_state(self, context: int) -> str | None:
        """The state of the run of a context."""
        found = self.sql(
            "SELECT state FROM _data_manager_admin.run_queue WHERE context_id = %s", context
        )
        return found[0][0] if found else None

    def end(self, context: int) -> tuple[str, Any]:
        """The last event of a context once it has ended."""
        wait_until(lambda: self.run_state(context) is None, f"the end of {context}", 120)
        return self.events(context)[-1]

    def why(self, context: int) -> str:
        """Why a run is not running."""
        return self.dama("queue", "why", context).stdout

    def jobs(self) -> list[str]:
        """The jobs that the engine has, and have not ended."""
        return self.slurm("squeue", "-h", "--me", "-r", "-o", "%i").split()

    def cancel_all(self) -> None:
        """End what the engine has."""
        if self.jobs():
            self.slurm("scancel", "--me")

    def sleepers(self) -> list[int]:
        """The processes of `jobs.stays` on the nodes."""
        found: list[int] = []
        for entry in Path("/proc").iterdir():
            with suppress(OSError):
                is_asleep = (entry / "cmdline").read_bytes() == b"sleep\x001000\0"
                if is_asleep and str(self.home).encode() in (entry / "environ").read_bytes():
                    found.append(int(entry.name))
        return found

    def follow(self, context: int) -> subprocess.Popen[bytes]:
        """What prints the log of a run until that has ended."""
        command = ["dama", "logs", str(context), "--follow"]
        folder, environ = self.dama.folder, self.dama.environ
        return subprocess.Popen(command, cwd=folder, env=environ, stdout=subprocess.PIPE)

    def launch(self) -> subprocess.Popen[bytes]:
        """A worker that looks after the launcher."""
        with (self.dama.folder / "worker.log").open("ab") as log:
            worker = subprocess.Popen(
                ["dama", "worker", "--launch", "there", "--grace", "1"],
                cwd=self.dama.folder,
                env=self.dama.environ,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self._workers.append(worker)
        return worker

    def kill(self, worker: subprocess.Popen[bytes]) -> None:
        """End a worker at once."""
        with suppress(ProcessLookupError):
            os.killpg(worker.pid, signal.SIGKILL)
        worker.wait()

    def close(self) -> None:
        """End the workers, and what they have placed."""
        for worker in self._workers:
            self.kill(worker)
        # What was killed are clients of the process that forks commands: the workers live.
        query = "SELECT pid, pid_started FROM _data_manager_admin.worker"
        for pid, started in self.sql(query):
            if process_start(pid) == started:
                os.kill(pid, signal.SIGKILL)
        self.cancel_all()
        wait_until(lambda: not self.jobs(), "an empty cluster")
