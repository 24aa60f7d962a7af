"""`dama pilot`: a job of a batch system that is a worker, to be reviewed and submitted."""

from __future__ import annotations

import json
import math
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from dama.cli.group import examples
from dama.cli.terminal import echo
from dama.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable

    from dama.cli.session import Session

SLURM = """\
#!/bin/bash
# Review it, then: dama pilot slurm ... | sbatch
#SBATCH --job-name=dama-pilot
#SBATCH --time={minutes}
#SBATCH --array=1-{count}
#SBATCH --export=NIL
#SBATCH --no-requeue
#SBATCH --output={home}/jobs/pilot-%A_%a.log
{options}\
set -euo pipefail
umask 077
# Secrets, readable for you only: DAMA_DATABASE_URL=postgresql://... and what programs need.
set -a; . {env_file}; set +a
# A home of its own: what this job leaves behind is no other worker's.
export DAMA_HOME={home}/jobs/"$SLURM_JOB_ID"
mkdir -p "$DAMA_HOME"
cd {project}
# It claims nothing that does not fit into the time that the job has left.
exec {command}
"""
KUBERNETES = """\
# Review it, then: dama pilot kubernetes ... | kubectl create -f -
apiVersion: batch/v1
kind: Job
metadata:
  generateName: dama-pilot-
  labels: {{app.kubernetes.io/name: dama-pilot}}
spec:
  parallelism: {count}
  completions: {count}
  completionMode: Indexed
  backoffLimit: 0
  activeDeadlineSeconds: {seconds}
  ttlSecondsAfterFinished: 86400
  template:
    metadata:
      labels: {{app.kubernetes.io/name: dama-pilot}}
    spec:
      restartPolicy: Never
      terminationGracePeriodSeconds: 60
      containers:
        - name: worker
          image: {image}
          command: {command}
          # DAMA_DATABASE_URL and what programs need:
          # kubectl create secret generic {secret} --from-env-file=FILE
          envFrom: [{{secretRef: {{name: {secret}}}}}]
          env: [{{name: DAMA_HOME, value: /tmp/dama/jobs/pilot}}]
          resources: {{requests: {resources}, limits: {resources}}}
"""


@click.group(
    epilog=examples(
        "dama pilot slurm --time 4h --count 10 | sbatch",
        "dama pilot kubernetes --image registry.example.org/etl:1 | kubectl create -f -",
    )
)
def pilot() -> None:
    """Print a batch job that executes queued runs until none are left or its time is up.

    Tasks with the label of the pilot wait for such a job, however many there are.
    """


def _options(label: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    given = (
        click.option(
            "--label", default=label, show_default=True, help="The label that its workers offer."
        ),
        click.option(
            "--idle-for",
            default="10m",
            show_default=True,
            help="How long it stays with nothing to do.",
        ),
        click.option("--time", default="4h", show_default=True, help="The time limit of the job."),
        click.option("--count", type=click.IntRange(1), default=1, help="How many workers."),
        click.option(
            "--slots", type=click.IntRange(1, 1000), default=4, help="Runs at once, of each worker."
        ),
        click.option(
            "--cpus", type=click.IntRange(1), help="CPUs of each; by default as many as slots."
        ),
        click.option("--memory", metavar="SIZE", help="Memory of each, such as 8G."),
    )

    def add(command: Callable[..., None]) -> Callable[..., None]:
        for option in reversed(given):
            command = option(command)
        return command

    return add


@pilot.command(
    epilog=examples(
        "dama pilot slurm --time 4h --count 10 | sbatch",
        "dama pilot slurm --option=--partition=cpu --option=--account=lab7 > pilot.sh",
    )
)
@_options("slurm")
@click.option(
    "--option", "more", multiple=True, metavar="TEXT", help="Another option of sbatch; repeat it."
)
@click.option(
    "--env-file",
    type=click.Path(path_type=Path),
    help="The file with the secrets; by default DAMA_HOME/job.env.",
)
@click.pass_obj
def slurm(session: Session, /, **chosen: Any) -> None:
    """Print a job for sbatch: an array of workers."""
    config = session.config()
    if session.embedded():
        raise UsageError(
            "The embedded database cannot be reached from another machine.",
            "Configure one that can: DAMA_DATABASE_URL=postgresql://host/database.",
        )
    home, cpus = config.home, chosen["cpus"] or chosen["slots"]
    memory = [f"--mem={chosen['memory']}"] if chosen["memory"] else []
    options = [f"--cpus-per-task={cpus}", *memory, *chosen["more"]]
    env_file = (chosen["env_file"] or home / "job.env").absolute()
    dama = Path(sys.executable).with_name("dama")
    text = SLURM.format(
        minutes=math.ceil(_seconds(chosen["time"], "--time") / 60),
        count=chosen["count"],
        home=_plain(home),
        options="".join(f"#SBATCH {_one_line(option)}\n" for option in options),
        env_file=shlex.quote(str(env_file)),
        project=shlex.quote(str(config.project)),
        command=shlex.join([str(dama), *_worker(chosen)]),
    )
    echo(text, nl=False)


@pilot.command(
    epilog=examples(
        "dama pilot kubernetes --image registry.example.org/etl:1 | kubectl create -f -"
    )
)
@_options("kubernetes")
@click.option(
    "--image", required=True, help="The image, with dama and the project in its working folder."
)
@click.option(
    "--secret",
    default="dama",
    show_default=True,
    help="The Kubernetes secret with DAMA_DATABASE_URL.",
)
def kubernetes(**chosen: Any) -> None:
    """Print a Job for kubectl: workers side by side.

    None of them is started again.
    """
    seconds = math.ceil(_seconds(chosen["time"], "--time"))
    memory = {"memory": chosen["memory"]} if chosen["memory"] else {}
    text = KUBERNETES.format(
        count=chosen["count"],
        seconds=seconds,
        image=json.dumps(chosen["image"]),
        secret=json.dumps(chosen["secret"]),
        command=json.dumps(["dama", *_worker(chosen), "--time-limit", f"{seconds}s"]),
        resources=json.dumps({"cpu": str(chosen["cpus"] or chosen["slots"]), **memory}),
    )
    echo(text, nl=False)


def _worker(chosen: dict[str, Any]) -> list[str]:
    _seconds(chosen["idle_for"], "--idle-for")
    asked = ("label", "slots", "idle_for")
    pairs = [(f"--{name.replace('_', '-')}", str(chosen[name])) for name in asked]
    return ["worker", *(part for pair in pairs for part in pair)]


def _seconds(text: str, of: str) -> float:
    from dama.config.duration import parse_duration

    return parse_duration(text, of=of)


def _plain(path: Path) -> str:
    """A path as it stands in a line of #SBATCH, which knows no quotes."""
    text = str(path)
    if text != shlex.quote(text):
        raise UsageError(
            f"A job of Slurm cannot have its log in {text!r}.",
            "Choose a DAMA_HOME without blanks and signs of the shell.",
        )
    return text


def _one_line(option: str) -> str:
    if "\n" in option or not option.startswith("-"):
        raise UsageError(
            f"--option is {option!r}, and an option of sbatch begins with a dash.",
            "Write it with an equals sign: --option=--partition=cpu.",
        )
    return option
