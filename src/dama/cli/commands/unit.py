"""`dama unit`: a unit of systemd for this project, to be reviewed and installed."""

from __future__ import annotations

import getpass
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from dama.cli.group import examples
from dama.cli.terminal import echo

if TYPE_CHECKING:
    from dama.cli.session import Session

TEMPLATE = """\
# Install: dama unit {command} | sudo tee /etc/systemd/system/dama-{command}.service
#          sudo systemctl daemon-reload && sudo systemctl enable --now dama-{command}
[Unit]
Description=DataManager Controller: dama {command} in {plain_folder}
After=network-online.target postgresql.service
Wants=network-online.target

[Service]
ExecStart={start}
WorkingDirectory={folder}
User={user}
Environment={home}
# Secrets of programs and DAMA_DATABASE_URL, one NAME=value a line, readable for root only.
EnvironmentFile=-/etc/dama/{command}.env
Restart=always
RestartSec=2
# Only the worker is told to stop. Programs continue, and the next worker adopts them.
KillMode=process
# Some open files for each program that runs.
LimitNOFILE=65536
# Runs within the worker have its --grace to end.
TimeoutStopSec=60
# A program that takes too much memory is killed alone.
OOMPolicy=continue

[Install]
WantedBy=multi-user.target
"""


@click.command(
    context_settings={"ignore_unknown_options": True},
    epilog=examples("dama unit worker", "dama unit worker --slots 8 --queue etl", "dama unit up"),
)
@click.argument("command", type=click.Choice(["worker", "up"]))
@click.argument("options", nargs=-1, type=click.UNPROCESSED)
@click.pass_obj
def unit(session: Session, command: str, options: tuple[str, ...]) -> None:
    """Print a systemd unit that runs `dama worker` or `dama up` for this project.

    It is started again when it ends, and lets programs continue while it is deployed. What follows
    the name of the command becomes its options.
    """
    config = session.config()
    dama = Path(sys.executable).with_name("dama")
    echo(
        TEMPLATE.format(
            command=command,
            start=" ".join(_quoted(part) for part in (str(dama), command, *options)),
            folder=_escaped(str(config.project)),
            plain_folder=_escaped(config.project.name),
            user=getpass.getuser(),
            home=_quoted(f"DAMA_HOME={config.home}"),
        ),
        nl=False,
    )


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace("%", "%%")


def _quoted(text: str) -> str:
    escaped = _escaped(text).replace("$", "$$").replace('"', '\\"')
    return f'"{escaped}"' if shlex.quote(text) != text else escaped
