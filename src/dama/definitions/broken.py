"""Broken modules: those that cannot be imported, and the tasks that they would have.

A module that fails takes nothing with it but its own tasks. Their names are read from its text, so
that who asks for one is told why it is not there.
"""

from __future__ import annotations

import ast
import importlib.util
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from dama.definitions.errors import BrokenTaskError
from dama.errors import DamaError

if TYPE_CHECKING:
    from collections.abc import Iterator


@dataclass(frozen=True)
class BrokenModule:
    """A module that cannot be imported.

    Attributes:
        name: Of the module.
        error: Why.
        tasks: The full names of its tasks, as far as its text tells them, with file and line.
    """

    name: str
    error: DamaError
    tasks: Mapping[str, str] = field(default_factory=dict[str, str])

    def refuse(self, task: str) -> None:
        """Say that one of its tasks cannot be run.

        Raises:
            BrokenTaskError: It is one of its tasks.
        """
        if place := self.tasks.get(task):
            raise BrokenTaskError(f"{task} ({place}) is broken: {self.error.message}")


def broken(name: str, error: DamaError) -> BrokenModule:
    """What is known of a module that cannot be imported."""
    try:
        spec = importlib.util.find_spec(name)
    except Exception:  # noqa: BLE001 - the package above it may be what is broken
        spec = None
    origin = Path(spec.origin) if spec and spec.origin else None
    try:
        tree = ast.parse(origin.read_bytes()) if origin else None
    except (OSError, SyntaxError, ValueError):
        tree = None
    return BrokenModule(name, error, dict(_tasks(tree, origin)) if tree and origin else {})


def _tasks(tree: ast.Module, file: Path) -> Iterator[tuple[str, str]]:
    services: dict[str, str] = {}
    for node in tree.body:
        match node:
            case ast.Assign(
                targets=[ast.Name(id=name)],
                value=ast.Call(
                    func=ast.Name(id="Service"), args=[ast.Constant(value=str(own)), *_]
                ),
            ):
                services[name] = own
            case ast.FunctionDef() | ast.AsyncFunctionDef():
                for decorator in node.decorator_list:
                    if found := _task(decorator, node.name, services):
                        yield found, f"{file}:{node.lineno}"
            case _:
                pass


def _task(decorator: ast.expr, function: str, services: Mapping[str, str]) -> str | None:
    """The full name of the task that a decorator makes; None when it makes none."""
    called = decorator if isinstance(decorator, ast.Call) else None
    match called.func if called else decorator:
        case ast.Attribute(value=ast.Name(id=service), attr="task") if service in services:
            for keyword in called.keywords if called else ():
                if keyword.arg == "name" and isinstance(keyword.value, ast.Constant):
                    return f"{services[service]}.{keyword.value.value}"
            return f"{services[service]}.{function}"
        case _:
            return None
