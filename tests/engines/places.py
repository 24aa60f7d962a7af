"""A project whose tasks a launcher places on the cluster of the tests, and what is typed in it."""

import json
import os
import re
import shutil
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


def node() -> str:
    return os.environ.get("SLURMD_NODENAME") or os.environ["POD_NODE"]


@jobs.task(launcher="there", resources={"cpus": 1, "memory": "64MiB"})
async def where(task: Task, number: int = 0) -> dict[str, object]:
    if number in (3, 13):
        raise ValueError("an unlucky number")
    return {"node": node(), "number": number}


@jobs.task(launcher="there", resources={"cpus": 9, "time": "5m"})  # one on each node
async def steps(task: Task, folder: str, count: int = 3) -> int:
    done = 0
    for n in range(count):
        done += await task.step(f"step-{n}", one_step, folder, n)
    return done


async def one_step(folder: str, n: int) -> int:
    with Path(folder, "done").open("a") as file:
        file.write(f"{n} {node()}\\n")
    while n and Path(folder, "hold").exists():
        await asyncio.sleep(0.05)
    return 1


@jobs.task(launcher="there", crashes=1)
def dies(task: Task, how: str) -> None:
    if how == "memory":
        os.write(2, b"slurmstepd: error: Detected 1 oom_kill event\\n")
    os.kill(os.getpid(), signal.SIGKILL)


@jobs.task(launcher="there", resources={"memory": "1TB"})
async def too_big(task: Task) -> None:
    pass


@jobs.task()
async def all_of(task: Task, count: int = 4) -> int:
    numbers = [{"number": n} for n in range(100, 100 + count - 1)]
    ends = await task.map(where, [{"number": 3}, *numbers], limit=3, on_failure="collect")
    return sum(not each.ok for each in ends)
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
setup = "[ ! -e {folder}/limit ] || export DAMA_JOB_END_TIME=$(($(date +%s) + 4))"
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
SBATCH = """\
#!/bin/sh
# sbatch, that of a client which is held before it has asked, or when it has the answer.
hold() {{
    if rm "{folder}/hold-$1" 2>/dev/null; then
        echo $$ >"{folder}/held"
        while [ -e "{folder}/held" ]; do sleep 0.1; done
    fi
}}
hold before
answer=$({sbatch} "$@") || exit
hold after
echo "$answer"
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
        self._frozen: list[int] = []
        (dama.folder / "jobs.py").write_text(project)
        text = (settings or SETTINGS + KINDS[kind]).replace("{folder}", str(dama.folder))
        (dama.folder / "dama.toml").write_text(text)
        sbatch = shutil.which("sbatch", path=dama.environ["PATH"])
        for name, script in (
            ("submit", SUBMIT),
            ("bin/sbatch", SBATCH.format(folder=dama.folder, sbatch=sbatch)),
        ):
            path = dama.folder / name
            path.parent.mkdir(exist_ok=True)
            path.write_text(script)
            path.chmod(0o755)
        dama.environ["PATH"] = f"{dama.folder / 'bin'}:{dama.environ['PATH']}"

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

    def is_placed(self, context: int) -> bool:
        """Whether the run of a context has left the queue."""
        return self.run_state(context) != "queued"

    def end(self, context: int, patience: float = 120) -> tuple[str, Any]:
        """The last event of a context once it has ended."""
        wait_until(lambda: self.run_state(context) is None, f"the end of {context}", patience)
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

    def begin_steps(self, *, held: bool = True) -> int:
        """Start a run of three steps; the second one waits until `release`."""
        (self.dama.folder / "done").unlink(missing_ok=True)
        (self.dama.folder / "hold").touch()
        context = self.start("jobs.steps", "--folder", str(self.dama.folder))
        if held:
            wait_until(lambda: len(self.steps()) == 2, "a second step that waits", 120)
        return context

    def release(self) -> None:
        """Let the steps that wait continue."""
        (self.dama.folder / "hold").unlink()

    def steps(self) -> list[str]:
        """The steps that have begun, of all runs since the last that was started."""
        with suppress(FileNotFoundError):
            return re.findall(r"(?m)^[0-9]", (self.dama.folder / "done").read_text())
        return []

    # ------------------------------------------------------------------ what happens to the engine

    def hold_submission(self, when: str) -> None:
        """Hold the next submission before the engine has it, or after: without an answer."""
        (self.dama.folder / f"hold-{when}").touch()

    def is_held(self) -> bool:
        """Whether a submission is held."""
        held = self.dama.folder / "held"
        return held.exists() and bool(held.read_text())

    def let_go(self) -> None:
        """Let the submission that is held continue."""
        (self.dama.folder / "held").unlink()

    def kill_submission(self) -> None:
        """Kill what asks the engine, as a power cut kills it with its worker."""
        held = self.dama.folder / "held"
        os.killpg(os.getpgid(int(held.read_text())), signal.SIGKILL)
        held.unlink()

    def submit_late(self) -> None:
        """Have the engine answer nobody, and do what it was asked for all the same."""
        self.slurm.signal("slurmctld", signal.SIGSTOP)

    def answer_again(self) -> None:
        """End that."""
        self.slurm.signal("slurmctld", signal.SIGCONT)

    def go_away(self) -> None:
        """Kill the engine; what runs there continues."""
        (job,) = self.jobs()
        if self.kind == "slurm":
            self.slurm.save()
        self.slurm.signal("slurmctld")
        if self.kind == "command":
            self.slurm.forget(job)

    def come_back(self) -> None:
        """Start the engine."""
        self.slurm.start_daemon("slurmctld")

    def submit_again(self, context: int) -> None:
        """Submit another job of the same epoch of a context's run."""
        script = self.slurm("scontrol", "write", "batch_script", self.job_of(context), "-")
        more = ["--array=0", "--export=NIL", "--output=/dev/null", "--chdir=/"]
        self.slurm("sbatch", *more, text=script)
        wait_until(lambda: len(self.jobs()) == 2, "a second job")

    def job_of(self, context: int) -> str:
        """The job of a context's run, as its engine calls it."""
        query = (
            "SELECT native_id FROM _data_manager_admin.placement WHERE context_id = %s"
            " ORDER BY epoch DESC LIMIT 1"
        )
        return self.sql(query, context)[0][0]

    def node_of(self, context: int) -> str:
        """The node on which the run of a context has its place."""
        query = (
            "SELECT node FROM _data_manager_admin.placement WHERE context_id = %s AND node <> ''"
        )
        wait_until(lambda: self.sql(query, context), "a node")
        return self.sql(query, context)[0][0]

    def resume_nodes(self) -> None:
        """Let nodes take jobs that have given one up."""
        self.slurm.resume_nodes()

    def told(self) -> tuple[str, list[Path]]:
        """What the engine says of its jobs, and the files that it keeps."""
        said = self.slurm("scontrol", "show", "job", "--details")
        for job in self.jobs():
            said += self.slurm("scontrol", "write", "batch_script", job, "-")
        return said, [path for path in self.slurm.folder.rglob("*") if path.is_file()]

    def processes(self) -> list[int]:
        """All of the engine."""
        return self.slurm.processes()

    def kill_payload(self, context: int) -> None:
        """Kill the worker that has the run of a context."""
        query = (
            "SELECT w.pid FROM _data_manager_admin.run_queue q"
            " JOIN _data_manager_admin.worker w USING (worker_id) WHERE q.context_id = %s"
        )
        os.kill(self.sql(query, context)[0][0], signal.SIGKILL)
        wait_until(lambda: not self.jobs(), "the end of its job")

    def freeze_node(self, name: str) -> None:
        """A node does nothing any more, for a while."""
        # Those that a process has forked do not have the environment of their jobs.
        query = (
            "SELECT w.pid FROM _data_manager_admin.placement p"
            " JOIN _data_manager_admin.run_queue q USING (context_id, epoch)"
            " JOIN _data_manager_admin.worker w USING (worker_id) WHERE p.node = %s"
        )
        self._frozen = [pid for (pid,) in self.sql(query, name)]
        self.slurm.freeze_node(name, signal.SIGSTOP)
        for pid in self._frozen:
            os.kill(pid, signal.SIGSTOP)

    def thaw_node(self, name: str) -> None:
        """A node that was frozen continues as if nothing had happened."""
        self.slurm.freeze_node(name, signal.SIGCONT)
        for pid in self._frozen:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)

    def expire(self) -> None:
        """Have the engine forget all jobs that have ended."""
        self.slurm.forget_ended()

    def time_out(self, context: int) -> None:
        """The job of a context's run has come to its time limit."""
        self.slurm("scontrol", "update", f"JobId={self.job_of(context)}", "EndTime=now")

    # ------------------------------------------------------------------ its workers

    def leader(self) -> int:
        """The process of the worker that looks after the launcher."""
        query = (
            "SELECT w.pid FROM _data_manager_admin.launcher l"
            " JOIN _data_manager_admin.worker w USING (worker_id)"
        )
        found = self.sql(query)
        return found[0][0] if found else 0

    def kill_workers(self) -> None:
        """Kill all workers that look after the launcher."""
        for worker in self._workers:
            self.kill(worker)
        self._workers.clear()

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
