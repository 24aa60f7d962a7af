"""The seam: what dama asks of an engine that places runs on other machines.

An engine gets jobs, says what it knows of them, and ends them. A job is a worker that was started
for one run. No answer is no result: an engine that is away has refused and ended nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, NamedTuple, Protocol

from dama.definitions.resources import Resources
from dama.errors import DamaError

Kind = Literal["slurm", "kubernetes", "command"]
State = Literal["pending", "running", "ended"]
Why = Literal["lost", "memory", "time", "cancelled", "exit"]
DELETED = "somebody has deleted it"  # the reason of a job that was removed from its engine


class Key(NamedTuple):
    """Which job of an engine: the name that dama gave it, and the place in it."""

    name: str
    element: int


class Element(NamedTuple):
    """A run in a job."""

    element: int
    context_id: int
    epoch: int


@dataclass(frozen=True)
class Job:
    """What an engine is asked for: a worker for each of some runs with the same needs.

    Attributes:
        name: Of the database, a context and its epoch; the same whenever it is asked for again.
        elements: The runs.
        resources: What each of them needs.
    """

    name: str
    elements: Sequence[Element]
    resources: Resources


@dataclass(frozen=True)
class Sighting:
    """What an engine says of a job.

    Attributes:
        state: What it does.
        native_id: What the engine calls it.
        reason: Why it is so, in the engine's words.
        node: Where it runs or ran.
        why: How it ended; "exit" for an end of its own.
        exit_code: Of its process; None when it is not known.
        signal: What killed its process; 0 for nothing.
    """

    state: State
    native_id: str
    reason: str = ""
    node: str = ""
    why: Why = "exit"
    exit_code: int | None = None
    signal: int = 0


@dataclass(frozen=True)
class LauncherSettings:
    """A launcher, as `[launchers.NAME]` of the settings has it.

    Attributes:
        name: Its name.
        kind: Which engine: slurm or command.
        files: The folder of the jobs' files, which the nodes must see; DAMA_HOME by default.
        project: The folder that the jobs begin in; that of the settings by default.
        dama: What starts dama on the nodes; the one that this process is by default.
        env_file: The secrets on the nodes, for nobody else to read; written by the worker that
            launches when none is named.
        options: More options of the engine for each job.
        setup: Lines of shell before dama is started.
        at_once: How many runs are placed at most.
        look: Seconds between two looks at the engine.
        timeout: Seconds that a command of the engine may take.
        lease: Seconds without a sign of a placed run's worker until it is presumed dead.
        submit: Of kind command: submits the script on standard input and prints the job's id.
        list: Of kind command: prints a line for each job: id|name|state|reason|node|exit.
        cancel: Of kind command: cancels the jobs whose ids it is given as arguments.
        log: Of kind command: prints the log of the job with an id; the file of the script by
            default.
        states: Of kind command: which of the engine's states mean pending, running, done, failed,
            lost, memory, time or cancelled.
        image: Of kind kubernetes: the image in which dama and the project are.
        namespace: Of kind kubernetes: where the jobs go; that of the login by default.
        secrets: Of kind kubernetes: the Secrets whose keys the jobs have as variables.
        template: Of kind kubernetes: a file with more of a pod: metadata and spec, as YAML.
        server: Of kind kubernetes: the address of the cluster, where that needs no login.
    """

    name: str
    kind: Kind
    files: Path = field(default_factory=Path)
    project: Path = field(default_factory=Path)
    dama: str = "dama"
    env_file: Path | None = None
    options: tuple[str, ...] = ()
    setup: str = ""
    at_once: int = 200
    look: float = 10.0
    timeout: float = 10.0
    lease: float = 60.0
    submit: tuple[str, ...] = ()
    list: tuple[str, ...] = ()
    cancel: tuple[str, ...] = ()
    log: tuple[str, ...] = ()
    states: Mapping[str, str] | None = None
    image: str = ""
    namespace: str = ""
    secrets: tuple[str, ...] = ("dama",)
    template: Path | None = None
    server: str = ""


class AwayError(DamaError):
    """An engine does not answer. That says nothing of its jobs."""

    code = "ENGINE_AWAY"


class RefusedError(DamaError):
    """An engine refuses a job for good, in its words."""

    code = "ENGINE_REFUSED"


class Launcher(Protocol):
    """An engine.

    Attributes:
        group: How many runs a job may have.
        keeps: Seconds for which it knows a job that has ended; 0 where it may forget any at once.
    """

    group: int
    keeps: float

    async def prepare(self, conninfo: str) -> None:
        """Write what its jobs need, when a worker begins to look after it.

        Args:
            conninfo: How the database is reached; secret.
        """
        ...

    async def submit(self, job: Job) -> Mapping[int, str]:
        """Ask for a job; the id of each of its elements.

        Raises:
            RefusedError: It will never take it.
            AwayError: It did not answer; the job may come into being all the same.
        """
        ...

    async def look(self) -> Mapping[Key, Sighting]:
        """What it knows of all jobs of this database, in one call.

        Raises:
            AwayError: It did not answer.
        """
        ...

    async def cancel(self, native_ids: Sequence[str]) -> None:
        """End jobs, pending or running.

        Raises:
            AwayError: It did not answer.
        """
        ...

    async def log(self, key: Key, native_id: str) -> str:
        """The end of what a job printed before dama was there; empty when nobody knows."""
        ...
