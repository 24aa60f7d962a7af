"""Settings of launchers: `[launchers.NAME]` of the file, read and checked."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dama.config.duration import parse_duration
from dama.config.table import Table, nearest
from dama.definitions.errors import UnknownLauncherError
from dama.errors import InvalidDefinitionError
from dama.launchers.command import STATES, Command
from dama.launchers.kubernetes.launcher import Kubernetes
from dama.launchers.launcher import Kind, LauncherSettings
from dama.launchers.slurm import Slurm
from dama.programs.place import JOBS
from dama.shapes import is_object

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dama.config.config import Config
    from dama.launchers.launcher import Launcher

KINDS: Mapping[str, type[Slurm | Kubernetes | Command]] = {
    "slurm": Slurm,
    "kubernetes": Kubernetes,
    "command": Command,
}
# What only some kinds have.
OWN: Mapping[str, tuple[Kind, ...]] = {
    "env_file": ("slurm", "command"),
    "options": ("slurm", "command"),
    **dict.fromkeys(("submit", "list", "cancel", "log", "states"), ("command",)),
    **dict.fromkeys(("image", "namespace", "secrets", "template", "server"), ("kubernetes",)),
}
KEYS = tuple(name for name in LauncherSettings.__dataclass_fields__ if name != "name")
MOST_AT_ONCE = 100_000


def read_launchers(config: Config) -> Mapping[str, LauncherSettings]:
    """The launchers of a project, by name.

    Raises:
        InvalidDefinitionError: A key is unknown or wrong; the message names it.
    """
    source = config.source or "the settings"
    return {
        name: _read(Table(f"{source}: launchers.{name}", values, KEYS), name, config)
        for name, values in config.launchers.items()
    }


def find_launcher(config: Config, name: str) -> LauncherSettings:
    """One launcher of a project.

    Raises:
        UnknownLauncherError: There is none of this name.
        InvalidDefinitionError: A key of any is unknown or wrong.
    """
    launchers = read_launchers(config)
    if name not in launchers:
        raise UnknownLauncherError(name, launchers)
    return launchers[name]


def folders_of_jobs(config: Config) -> list[Path]:
    """Where the homes of batch jobs are, if they are seen from here: pilots' and launchers'.

    What else is wrong with a launcher does not matter to who reads logs.
    """
    folders = {config.home: None}
    for values in config.launchers.values():
        if is_object(values) and isinstance(files := values.get("files"), str):
            folders[config.project / Path(files).expanduser()] = None
    return [folder / JOBS for folder in folders]


def launcher_of(settings: LauncherSettings, prefix: str) -> Launcher:
    """The engine that settings name.

    Args:
        settings: Of the launcher.
        prefix: What the names of its jobs begin with.
    """
    return KINDS[settings.kind](settings, prefix)


def _read(table: Table, name: str, config: Config) -> LauncherSettings:
    kind: Any = table.text("kind")
    if kind not in KINDS:
        table.wrong("kind", " or ".join(f'"{each}"' for each in KINDS), nearest(str(kind), KINDS))
    if not name.replace("-", "").replace("_", "").isalnum():
        raise InvalidDefinitionError(
            f"{table.where}: the name of a launcher has letters, digits, - and _ only."
        )
    for key, kinds in OWN.items():
        if kind not in kinds and table.has(key):
            those = " or ".join(f'"{each}"' for each in kinds)
            table.wrong(key, f"it to be left out: it belongs to kind = {those}")
    return LauncherSettings(
        name=name,
        kind=kind,
        setup=table.text("setup", ""),
        at_once=table.number("at_once", 1, MOST_AT_ONCE) or LauncherSettings.at_once,
        look=_seconds(table, "look", LauncherSettings.look),
        timeout=_seconds(table, "timeout", LauncherSettings.timeout),
        lease=_seconds(table, "lease", LauncherSettings.lease),
        **(_in_image(table, config) if kind == "kubernetes" else _on_nodes(table, config)),
        **(_of_command(table) if kind == "command" else {}),
    )


def _on_nodes(table: Table, config: Config) -> dict[str, Any]:
    """What nodes that share a folder with this machine have."""
    base = config.project
    return {
        "files": _path(table, "files", base) or config.home,
        "project": _path(table, "project", base) or base,
        "dama": table.text("dama", str(Path(sys.executable).with_name("dama"))),
        "env_file": _path(table, "env_file", base),
        "options": table.texts("options", 'a list of strings, such as ["--partition=cpu"]'),
    }


def _in_image(table: Table, config: Config) -> dict[str, Any]:
    """What is in an image: its paths are those of a container."""
    return {
        "files": Path(table.text("files", "/tmp/dama")),  # noqa: S108 - of a container of its own
        "project": Path(table.text("project", "")),
        "dama": table.text("dama", "dama"),
        "image": table.text("image") or table.wrong("image", "the image of the runs' containers"),
        "namespace": table.text("namespace", ""),
        "secrets": table.texts("secrets") or LauncherSettings.secrets,
        "template": _path(table, "template", config.project),
        "server": table.text("server", ""),
    }


def _of_command(table: Table) -> dict[str, Any]:
    wanted = 'a command as a list, such as ["qsub", "-"]'
    commands: dict[str, Any] = {
        key: table.texts(key, wanted) for key in ("submit", "list", "cancel", "log")
    }
    for key in ("submit", "list", "cancel"):
        if not commands[key]:
            table.wrong(key, wanted)
    states = table.entries("states", 'a table such as { Q = "pending", R = "running" }')
    for name, meaning in states.items():
        if meaning not in STATES:
            Table(f"{table.where}.states", states, states).wrong(
                name, f"one of {', '.join(STATES)}"
            )
    return {**commands, "states": dict(states)}


def _path(table: Table, key: str, base: Path) -> Path | None:
    text: str | None = table.text(key)
    return None if text is None else base / Path(text).expanduser()


def _seconds(table: Table, key: str, default: float) -> float:
    wanted = 'seconds, or a string such as "45s", "30m"'
    value: Any = table.value(key, (int, float, str), wanted, default)
    seconds = parse_duration(value, of=f"{table.where}.{key}")
    return seconds if seconds > 0 else table.wrong(key, "more than 0 seconds")
