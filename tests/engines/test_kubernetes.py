"""Runs that a launcher places on Kubernetes: on a stand-in, with pods that are processes."""

import json
import re
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.acceptance.command import Command
from tests.conftest import fresh_database
from tests.engines.kubernetes import Cluster
from tests.engines.places import PROJECT, SETTINGS, Place
from tests.engines.slurm import wait_until
from tests.forked import Forked

pytestmark = pytest.mark.timeout(300)

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


@pytest.fixture(scope="module")
def place(server, template, forked: Forked, tmp_path_factory) -> Iterator[Pods]:
    """The project, a cluster, and a worker that looks after the launcher."""
    folder = tmp_path_factory.mktemp("kubernetes")
    for url in fresh_database(server, template):
        environ = forked.environ(DAMA_DATABASE_URL=url, DAMA_HOME=str(folder / "home"))
        in_pods = {"PATH": environ["PATH"], "HOME": str(folder)}
        cluster = Cluster(folder, in_pods)
        cluster.secrets["dama"] = {"DAMA_DATABASE_URL": url}
        cluster.start()
        (folder / "project").mkdir()
        place = Pods(Command(folder / "project", environ), cluster)
        place.launch()
        try:
            yield place
        finally:
            place.close()
            cluster.close()


@pytest.fixture(scope="module")
def runs(place: Pods) -> dict[str, int]:
    """Runs that are placed side by side: each is a case of its own."""
    return {
        "where": place.start("jobs.where", "--number", 7),
        "exits": place.start("jobs.exits"),
        "memory": place.start("jobs.dies", "--how", "memory"),
        "killed": place.start("jobs.dies", "--how", "kill"),
        "fails": place.start("jobs.where", "--number", 13),
        "all_of": place.start("jobs.all_of", "--count", 6),
    }


@pytest.mark.case(1)
def test_01_a_placed_run_is_as_one_here(place: Pods, runs: dict[str, int]) -> None:
    """Its events, its result and its place are there, by the payload's own connection."""
    kind, payload = place.end(runs["where"])

    assert kind == "FINAL", payload
    assert payload["number"] == 7
    assert place.kinds(runs["where"]) == ["INITIAL", "PLACED", "STARTED", "FINAL"]


@pytest.mark.case(13)
def test_13_what_ends_a_run_is_told_apart(place: Pods, runs: dict[str, int]) -> None:
    """A program's exit code, too little memory, a killed payload, an error."""
    ends = {name: place.end(context) for name, context in runs.items()}

    good = {name for name, (kind, _) in ends.items() if kind == "FINAL"}
    assert good == {"where", "all_of"}, ends
    assert ends["exits"][1]["data"]["exit_code"] == 137, ends["exits"]
    assert ends["memory"][1]["code"] == "OUT_OF_MEMORY", ends["memory"]
    assert ends["killed"][1]["code"] in {"PLACE_LOST", "POISON"}, ends["killed"]
    assert ends["fails"][1]["message"] == "an unlucky number"


@pytest.mark.case(16)
def test_16_a_map_is_one_job_and_its_limit_holds(place: Pods, runs: dict[str, int]) -> None:
    """Each part is a context of its own."""
    place.end(runs["all_of"])
    parts = place.sql(
        "SELECT context_id FROM _data_manager_admin.etl_context WHERE parent_id = %s ORDER BY 1",
        runs["all_of"],
    )
    names = {place.events(context)[1][1]["name"] for (context,) in parts}

    assert len(parts) == 6
    assert len(names) < 6


def test_why_a_pod_waits_is_shown_and_the_pod_is_removed_with_its_run(place: Pods) -> None:
    context = place.start("jobs.too_wide")
    wait_until(lambda: "nodes are available" in place.why(context), "the cluster's reason", 60)

    place.dama("cancel", context, check=True)

    assert place.end(context)[0] == "CANCELLED"
    wait_until(lambda: not place.jobs(), "the end of the pod", 60)


@pytest.mark.case(11)
def test_11_a_cancelled_run_ends_in_the_cluster_too(place: Pods) -> None:
    """The job, its program, and what that has started in a session of its own."""
    context = place.start("jobs.stays")
    wait_until(lambda: len(place.sleepers()) == 2, "the program and its child", 60)

    place.dama("cancel", context, check=True)

    assert place.end(context)[0] == "CANCELLED"
    wait_until(lambda: not place.jobs(), "the end of the pod", 60)
    wait_until(lambda: not place.sleepers(), "the end of what it started", 60)


def said(folder: Path) -> str:
    """What the steps have said so far."""
    with suppress(FileNotFoundError):
        return (folder / "done").read_text()
    return ""


def test_a_run_whose_pod_is_evicted_is_placed_again(place: Pods) -> None:
    folder = place.dama.folder
    (folder / "hold").touch()
    (folder / "done").unlink(missing_ok=True)
    context = place.start("jobs.steps", "--folder", str(folder))
    wait_until(lambda: "1 " in said(folder), "a second step that waits", 120)
    place.cluster.evict(place.pod_of(context))
    wait_until(lambda: place.kinds(context).count("PLACED") == 2, "another place", 60)
    (folder / "hold").unlink()

    assert place.end(context) == ("FINAL", 3)
    steps = re.findall(r"\d", (folder / "done").read_text())
    assert steps == ["0", "1", "1", "2"]  # what was done before is not done again
    (lost,) = [payload for kind, payload in place.events(context) if kind == "UNPLACED"]
    assert "low on resource" in lost["message"]


def test_a_job_that_somebody_deletes_is_an_error_and_not_asked_for_again(place: Pods) -> None:
    """While its pod waits, here for an image of the task's own; and while it runs."""
    folder = place.dama.folder
    (folder / "hold").touch()
    (folder / "done").unlink(missing_ok=True)
    waiting = place.start("jobs.elsewhere")
    running = place.start("jobs.steps", "--folder", str(folder))
    wait_until(lambda: 'pulling image "nosuch"' in place.why(waiting), "the cluster's reason", 60)
    wait_until((folder / "done").exists, "a first step", 120)
    for context in (waiting, running):
        name = place.pod_of(context).rpartition("-")[0].rpartition("-")[0]
        assert place.cluster.delete_job(name, "Background")

    for context in (waiting, running):
        kind, payload = place.end(context)
        assert (kind, payload["code"]) == ("ERROR", "CANCELLED_THERE"), payload
        assert "somebody has deleted it" in payload["message"]
        assert place.kinds(context).count("PLACED") == 1
    (folder / "hold").unlink()
    assert place.events(waiting)[1][1]["resources"] == {"image": "nosuch"}


@pytest.mark.case(8)
def test_08_a_cluster_that_is_away_has_ended_nothing(place: Pods) -> None:
    """What runs there continues, and the reason of what is placed says that it does not answer."""
    folder = place.dama.folder
    (folder / "hold").touch()
    (folder / "done").unlink(missing_ok=True)
    running = place.start("jobs.steps", "--folder", str(folder))
    wait_until((folder / "done").exists, "a first step", 120)
    place.cluster.stop_api()
    try:
        waiting = place.start("jobs.where", "--number", 1)
        wait_until(lambda: "answer" in place.why(waiting), "a reason", 60)
        (folder / "hold").unlink()
        assert place.end(running) == ("FINAL", 3)
        assert place.run_state(waiting) in {"queued", "placed"}
    finally:
        place.cluster.start_api()

    assert place.end(waiting)[0] == "FINAL", place.events(waiting)
    assert place.kinds(running) == ["INITIAL", "PLACED", "STARTED", "FINAL"]


@pytest.mark.case(14)
def test_14_a_time_limit_is_said(place: Pods) -> None:
    folder = place.dama.folder
    (folder / "hold").touch()
    (folder / "done").unlink(missing_ok=True)
    context = place.start("jobs.steps", "--folder", str(folder))
    wait_until((folder / "done").exists, "a first step", 120)
    place.cluster.time_out(place.pod_of(context))
    kind, payload = place.end(context)

    assert (kind, payload["code"]) == ("ERROR", "TIME_LIMIT"), payload


@pytest.mark.case(17)
def test_17_nothing_secret_is_said_to_the_cluster(place: Pods) -> None:
    """The address of the database is in the Secret only; what the template says is in each pod."""
    assert place.end(place.start("jobs.where", "--number", 2))[0] == "FINAL"
    created = [json.loads(body) for body in place.cluster.bodies]
    url = place.dama.environ["DAMA_DATABASE_URL"].rpartition("/")[2].partition("?")[0]
    assert created
    assert not any(url.encode() in body for body in place.cluster.bodies)
    lines: list[bytes] = []
    for entry in Path("/proc").iterdir():
        with suppress(OSError):
            if b"perform" in (line := (entry / "cmdline").read_bytes()):
                lines.append(line)
    assert not any(url.encode() in line for line in lines)
    for body in created:
        pod = body["spec"]["template"]
        (container,) = pod["spec"]["containers"]
        assert pod["metadata"]["annotations"] == {"team": "lab7"}
        assert pod["spec"]["nodeSelector"] == {"disk": "fast"}
        assert {"name": "COLOUR", "value": "blue"} in container["env"]
        assert container["envFrom"] == [{"secretRef": {"name": "dama"}}]


@pytest.mark.case(15)
def test_15_a_record_that_is_gone_takes_nothing_with_it(place: Pods) -> None:
    """The time to live of all jobs is over: what was done stays done, and new runs are placed."""
    # A job ends a moment after its run.
    wait_until(lambda: place.cluster.expire() or not place.cluster.jobs, "no job", 60)

    assert place.end(place.start("jobs.where", "--number", 2))[0] == "FINAL"
