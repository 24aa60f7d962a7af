"""A project whose tasks a launcher places on the stand-in for Kubernetes."""

import copy
import json
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.acceptance.command import Command
from tests.engines.kubernetes import Cluster
from tests.engines.places import PROJECT, SETTINGS, Place
from tests.engines.slurm import wait_until

MORE = """


@jobs.task(launcher="there", resources={"cpus": 17})
async def too_wide(task: Task) -> None:
    pass


@jobs.task(launcher="there", resources={"image": "nosuch"}, retries=3)
async def elsewhere(task: Task) -> None:
    pass
"""
COMMAND = Path(sys.executable).with_name("dama")  # itself, to be killed as it is
OWN = """kind = "kubernetes"
image = "etl:1"
server = "{server}"
dama = "{command}"
project = "{folder}"
files = "{home}"
template = "pod.yaml"
"""
TEMPLATE = """
metadata: {annotations: {team: lab7}}
spec:
  nodeSelector: {disk: fast}
  containers: [{name: run, env: [{name: COLOUR, value: blue}]}]
"""


class Pods(Place):
    """A project whose tasks are placed on a cluster."""

    def __init__(self, dama: Command, cluster: Cluster) -> None:
        own = OWN.format(
            server=cluster.server,
            folder=dama.folder,
            home=dama.environ["DAMA_HOME"],
            command=COMMAND,
        )
        super().__init__(dama, cluster, "kubernetes", PROJECT + MORE, SETTINGS + own)
        (dama.folder / "pod.yaml").write_text(TEMPLATE)
        self.cluster = cluster

    def jobs(self) -> list[str]:
        """The pods that have not ended."""
        pods = [*self.cluster.pods.items()]
        return [name for name, pod in pods if pod["status"]["phase"] in ("Pending", "Running")]

    def pod_of(self, context: int) -> str:
        """The pod of a context's run."""
        name, element = self.sql(
            "SELECT name, element FROM _data_manager_admin.placement WHERE context_id = %s"
            " ORDER BY epoch DESC LIMIT 1",
            context,
        )[0]
        return next(pod for pod in self.cluster.pods if pod.startswith(f"{name}-{element}-"))

    def cancel_all(self) -> None:
        """End what is there."""
        for name in [*self.cluster.jobs]:
            self.cluster.delete_job(name, "Background")

    def hold_submission(self, when: str) -> None:
        """Hold the next submission before the cluster has it, or after: without an answer."""
        self.cluster.hold = when

    def is_held(self) -> bool:
        """Whether a submission is held."""
        return self.cluster.hold == "held"

    def let_go(self) -> None:
        """Let the submission that is held continue."""
        self.cluster.hold = ""

    def kill_submission(self) -> None:
        """What asks is its worker."""
        self.cluster.hold = "gone"
        wait_until(lambda: not self.cluster.hold, "the end of the request")

    def submit_late(self) -> None:
        """Have the cluster answer nobody, and do what it was asked for all the same."""
        self.cluster.hold = "late"

    def answer_again(self) -> None:
        """End that."""
        self.cluster.hold = ""

    def go_away(self) -> None:
        """Kill the API and the controllers; what runs there continues."""
        self.cluster.stop_api()
        self.cluster.is_controlled.clear()

    def come_back(self) -> None:
        """Start them."""
        self.cluster.is_controlled.set()
        self.cluster.start_api()

    def submit_again(self, context: int) -> None:
        """Create another job of the same epoch of a context's run."""
        name = self.pod_of(context).rpartition("-")[0].rpartition("-")[0]
        other = copy.deepcopy(self.cluster.jobs[name])
        other["metadata"]["name"] = other["spec"]["template"]["metadata"]["name"] = "another"
        self.cluster.jobs["another"] = {**other, "status": {}}
        wait_until(lambda: len(self.jobs()) == 2, "a second job")

    def resume_nodes(self) -> None:
        """None has given anything up."""

    def told(self) -> tuple[str, list[Path]]:
        """What the cluster has of its jobs and pods; it keeps no files."""
        return json.dumps([self.cluster.jobs, self.cluster.pods]), []

    def processes(self) -> list[int]:
        """Those of the pods."""
        return self.cluster.processes()

    def freeze_node(self, name: str) -> None:
        """A node does nothing any more, for a while."""
        self.cluster.freeze_node(name, signal.SIGSTOP)

    def thaw_node(self, name: str) -> None:
        """A node that was frozen continues as if nothing had happened."""
        self.cluster.freeze_node(name, signal.SIGCONT)

    def expire(self) -> None:
        """A day is over: the time to live of all jobs that have ended."""
        query = "UPDATE _data_manager_admin.placement SET placed_at = placed_at - interval '2 days'"
        self.sql(f"{query} RETURNING 1")
        # A job ends a moment after its pods.
        wait_until(lambda: self.cluster.expire() or not self.cluster.jobs, "no job", 60)

    def time_out(self, context: int) -> None:
        """The job of a context's run has come to its time limit."""
        self.cluster.time_out(self.pod_of(context))


@contextmanager
def running_pods(folder: Path, environ: dict[str, str], url: str) -> Iterator[Pods]:
    """A project in a folder, and its cluster until the end of the block."""
    cluster = Cluster(folder, {"PATH": environ["PATH"], "HOME": str(folder)})
    cluster.secrets["dama"] = {"DAMA_DATABASE_URL": url}
    cluster.start()
    try:
        yield Pods(Command(folder / "project", environ), cluster)
    finally:
        cluster.close()
