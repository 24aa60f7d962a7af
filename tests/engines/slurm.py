"""A real Slurm with two nodes on this host, for tests. Without root, without munge."""

import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

CONF = """\
ClusterName=dama
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ports[0]}
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/none
CredType=cred/none
PluginDir={plugins}
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool-%n
SlurmctldPidFile={folder}/run/slurmctld.pid
SlurmdPidFile={folder}/run/slurmd-%n.pid
SlurmctldLogFile={folder}/log/slurmctld.log
SlurmdLogFile={folder}/log/slurmd-%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
SchedulerParameters=bf_interval=2,sched_interval=2,batch_sched_delay=0,sched_min_interval=0
JobCompType=jobcomp/filetxt
JobCompLoc={folder}/log/jobcomp.txt
MinJobAge={min_age}
SlurmdTimeout=15
KillWait=5
ReturnToService=2
SlurmdParameters=config_overrides
MailProg=/bin/true
MpiDefault=none
SwitchType=switch/none
NodeName=n1 NodeHostname={host} NodeAddr=127.0.0.1 Port={ports[1]} CPUs=16 RealMemory=4000
NodeName=n2 NodeHostname={host} NodeAddr=127.0.0.1 Port={ports[2]} CPUs=16 RealMemory=4000
PartitionName=main Nodes=n1,n2 Default=YES MaxTime=INFINITE DefMemPerCPU=10 State=UP
"""
PATIENCE = 60.0


def wait_until(condition: Callable[[], object], what: str, patience: float = PATIENCE) -> None:
    """Look until something is true."""
    deadline = time.monotonic() + patience
    while not condition():
        if time.monotonic() > deadline:
            pytest.fail(f"{what} did not come true in {patience:g} s")
        time.sleep(0.05)


def find_slurm() -> Path:
    """The folder that has Slurm; the test is skipped where there is none."""
    tool = Path(__file__).parents[2] / "tools" / "slurm"
    found = subprocess.run([tool], capture_output=True, text=True, check=False).stdout.strip()
    if found:
        return Path(found)
    if os.environ.get("DAMA_TEST_NEEDS_SLURM"):
        pytest.fail("Slurm was installed for the tests, and tools/slurm does not find it")
    pytest.skip("NO SLURM here: tools/slurm --install gets it")


class Slurm:
    """A cluster of two nodes.

    Args:
        folder: Where all its files are.
        root: Where its programs are.
        min_age: Seconds for which it remembers a job that has ended.
    """

    def __init__(self, folder: Path, root: Path, min_age: int = 300) -> None:
        self.folder = folder
        self._sbin = root / "usr/sbin"
        plugins = root / "usr/lib" / f"{os.uname().machine}-linux-gnu" / "slurm-wlm"
        for name in ("state", "log", "run"):
            (folder / name).mkdir(parents=True)
        self.conf = folder / "slurm.conf"
        self.conf.write_text(
            CONF.format(
                host=socket.gethostname(),
                ports=free_ports(3),
                user=os.environ.get("USER") or _user(),
                plugins=plugins,
                folder=folder,
                min_age=min_age,
            )
        )
        libraries = os.pathsep.join([str(plugins), str(plugins.parent)])
        self.environ = {
            "SLURM_CONF": str(self.conf),
            "PATH": os.pathsep.join([str(root / "usr/bin"), os.environ["PATH"]]),
        }
        if root != Path("/"):  # what is installed finds its own, and Python finds others there
            self.environ["LD_LIBRARY_PATH"] = libraries
        self._daemons: dict[str, subprocess.Popen[bytes]] = {}

    def start(self) -> None:
        """Start all of it, and wait until it takes jobs."""
        self.start_daemon("slurmctld")
        self.start_daemon("n1")
        self.start_daemon("n2")
        wait_until(lambda: self("sinfo", "-h", "-o", "%T") == "idle", "an idle cluster")

    def start_daemon(self, name: str) -> None:
        """Start slurmctld, or the slurmd of a node."""
        command = [self._sbin / "slurmctld-wlm", "-D", "-f", self.conf]
        if name != "slurmctld":
            step = self._sbin / "slurmstepd-wlm"
            command = [self._sbin / "slurmd-wlm", "-D", "-f", self.conf, "-N", name, "-d", step]
        with (self.folder / "log" / f"{name}.out").open("ab") as output:
            self._daemons[name] = subprocess.Popen(
                ["prlimit", "--core=0", *map(str, command)],
                env={**os.environ, **self.environ},
                stdout=output,
                stderr=output,
                stdin=subprocess.DEVNULL,
                start_new_session=True,
            )

    def signal(self, name: str, number: int = signal.SIGKILL) -> None:
        """Send a signal to a daemon."""
        daemon = self._daemons[name]
        daemon.send_signal(number)
        if number == signal.SIGKILL:
            daemon.wait()

    def save(self) -> None:
        """Wait until slurmctld, which saves every five seconds, has saved what it knows by now."""
        mark = f"saved-{time.monotonic_ns()}"
        job = self("squeue", "-h", "--me", "-o", "%A").split()[0]
        self("scontrol", "update", f"JobId={job}", f"Comment={mark}")
        saved = self.folder / "state" / "job_state"
        wait_until(lambda: saved.exists() and mark.encode() in saved.read_bytes(), "saved jobs")

    def forget(self, number: str) -> None:
        """Let a killed slurmctld have saved nothing: it gives the number of a job once more."""
        for saved in (self.folder / "state").glob("job_state*"):
            saved.unlink()
        self.conf.write_text(f"{self.conf.read_text()}FirstJobId={number}\n")

    def resume_nodes(self) -> None:
        """Let nodes take jobs again that had a job of a number twice, as an operator does."""
        for line in self("sinfo", "-h", "-N", "-o", "%N %T").splitlines():
            node, state = line.split()
            if state.startswith("drain"):
                self("scontrol", "update", f"NodeName={node}", "State=RESUME")
        wait_until(lambda: "drain" not in self("sinfo", "-h", "-o", "%T"), "nodes that take jobs")

    def kill_node(self, name: str) -> None:
        """A node loses its power: its daemon and all that it started are gone at once."""
        self.signal(name)
        for pid in self.processes(f"SLURMD_NODENAME={name}"):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def freeze_node(self, name: str, number: int) -> None:
        """Stop or continue a node: its daemon, and all that it started."""
        self.signal(name, number)
        for pid in self.processes(f"SLURMD_NODENAME={name}"):
            with suppress(ProcessLookupError):
                os.kill(pid, number)

    def forget_ended(self) -> None:
        """Wait until it has forgotten all jobs that have ended; it remembers them from then on."""
        conf = self.conf.read_text()
        self.conf.write_text(re.sub("MinJobAge=.*", "MinJobAge=2", conf))
        self("scontrol", "reconfigure")
        wait_until(lambda: not self("squeue", "-h", "--states=all"), "no job", 150)
        self.conf.write_text(conf)
        self("scontrol", "reconfigure")

    def processes(self, variable: str | None = None) -> list[int]:
        """The processes of this cluster that have a variable; all of them by default."""
        conf = f"SLURM_CONF={self.conf}".encode()
        found: list[int] = []
        for entry in Path("/proc").iterdir():
            with suppress(OSError):
                variables = (entry / "environ").read_bytes().split(b"\0")
                if (
                    entry.name.isdecimal()
                    and conf in variables
                    and (variable is None or variable.encode() in variables)
                ):
                    found.append(int(entry.name))
        return found

    def __call__(self, *command: str, text: str | None = None) -> str:
        """What a command of Slurm prints."""
        done = subprocess.run(
            command,
            env={**os.environ, **self.environ},
            input=text,
            capture_output=True,
            text=True,
            check=False,
            timeout=PATIENCE,
        )
        return done.stdout.strip()

    def stop(self) -> None:
        """End it, and all that it runs."""
        for node in ("n1", "n2"):
            self.kill_node(node)
        self.signal("slurmctld")
        for pid in self.processes():  # the step daemons of a node that was killed
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


@contextmanager
def running_slurm(folder: Path, **settings: int) -> Iterator[Slurm]:
    """A cluster until the end of the block."""
    slurm = Slurm(folder, find_slurm(), **settings)
    try:
        slurm.start()
        yield slurm
    finally:
        slurm.stop()


def free_ports(count: int) -> list[int]:
    """Ports that nobody has at this moment."""
    sockets = [socket.socket() for _ in range(count)]
    for each in sockets:
        each.bind(("127.0.0.1", 0))
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


def _user() -> str:
    import getpass

    return getpass.getuser()


if __name__ == "__main__":  # python -m tests.engines.slurm FOLDER: a cluster to try things on
    with running_slurm(Path(sys.argv[1])) as cluster:
        sys.stdout.write(f"export SLURM_CONF={cluster.conf}\n")
        sys.stdout.flush()
        signal.pause()
