"""Broken modules: those that cannot be imported, and the tasks that they would have.

A module that fails takes nothing with it but its own tasks. Their names and those of its services
are read from its text, so that who asks for one is told why it is not there.
"""

from __future__ import annotations

import ast
import importlib.util
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from dama.definitions.errors import BrokenTaskError
from dama.errors import DamaError

if TYPE_CHECKING:
    from collections.abc import Iterator

_VERSION = re.compile(r"v\d+\.")
# Of a text that is not Python: what makes a service, and the string that is its name.
_SERVICE = re.compile(r"""\bService\(\s*(["'])([^"'\n]+)\1""")


@dataclass(frozen=True)
class BrokenModule:
    """A module that cannot be imported.

    Attributes:
        name: Of the module.
        error: Why.
        tasks: The full names of its tasks, as far as its text tells them, with file and line.
        former: The same of what they were called before.
        services: The names of its services, as far as its text tells them.
    """

    name: str
    error: DamaError
    tasks: Mapping[str, str] = field(default_factory=dict[str, str])
    former: Mapping[str, str] = field(default_factory=dict[str, str])
    services: frozenset[str] = frozenset()

    def refuse(self, task: str) -> None:
        """Say that one of its tasks cannot be run.

        Raises:
            BrokenTaskError: It is one of its tasks.
        """
        if place := self.tasks.get(task) or self.former.get(task):
            raise BrokenTaskError(f"{task} ({place}) is broken: {self.error.message}")

    def may_have(self, name: str) -> bool:
        """Whether a task or an action of this full name is of one of its services."""
        service, dot, _ = _VERSION.sub("", name, count=1).rpartition(".")
        return bool(dot) and service in self.services

    def refuse_part(self, task: str, hint: str) -> None:
        """Say that a task may be in it, though its text does not tell.

        Raises:
            BrokenTaskError: It has the service of the task.
        """
        if self.may_have(task):
            message = f"There is no task {task!r}, but it may be in what is broken: "
            raise BrokenTaskError(message + self.error.message, hint)


def broken(name: str, error: DamaError) -> BrokenModule:
    """What is known of a module that cannot be imported."""
    try:
        spec = importlib.util.find_spec(name)
    except Exception:  # noqa: BLE001 - the package above it may be what is broken
        spec = None
    origin = Path(spec.origin) if spec and spec.origin else None
    try:
        text = origin.read_bytes() if origin else b""
    except OSError:
        text = b""
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError):
        found = _SERVICE.findall(text.decode(errors="replace"))
        return BrokenModule(name, error, services=frozenset(own for _, own in found))
    services = dict(_services(tree))
    tasks: dict[str, str] = {}
    former: dict[str, str] = {}
    for call, function, line in _makers(tree):
        names = _names(call, function, services)
        tasks |= dict.fromkeys(names[:1], f"{origin}:{line}")
        former |= dict.fromkeys(names[1:], f"{origin}:{line}")
    return BrokenModule(name, error, tasks, former, frozenset(services.values()))


def _services(tree: ast.Module) -> Iterator[tuple[str, str]]:
    """The services of a module: each variable, and the name in its call of `Service`."""
    for node in tree.body:
        match node:
            case (
                ast.Assign(targets=[ast.Name(id=variable)], value=ast.Call() as call)
                | ast.AnnAssign(target=ast.Name(id=variable), value=ast.Call() as call)
            ):
                named = [*call.args[:1], *(k.value for k in call.keywords if k.arg == "name")]
                match call.func, named:
                    case (
                        ast.Name(id="Service") | ast.Attribute(attr="Service"),
                        [ast.Constant(value=str(own)), *_],
                    ):
                        yield variable, own
                    case _:
                        pass
            case _:
                pass


def _makers(tree: ast.Module) -> Iterator[tuple[ast.expr, str, int]]:
    """What may make a task: decorators with their function, and calls; with the line."""
    for node in tree.body:
        match node:
            case ast.FunctionDef() | ast.AsyncFunctionDef():
                for decorator in node.decorator_list:
                    yield decorator, node.name, node.lineno
            case ast.Assign(value=call) | ast.Expr(value=call):
                yield call, "", node.lineno
            case _:
                pass


def _names(maker: ast.expr, function: str, services: Mapping[str, str]) -> list[str]:
    """The full name of the task that is made, then its former ones; none when none is made."""
    called = maker if isinstance(maker, ast.Call) else None
    given = {each.arg: each.value for each in called.keywords} if called else {}
    match called.func if called else maker:
        case ast.Attribute(value=ast.Name(id=variable), attr="task") if function:
            names = [given.get("name", ast.Constant(function))]
        case ast.Attribute(value=ast.Name(id=variable), attr="program") if called:
            names = [*called.args[:1], *([given["name"]] if "name" in given else [])]
        case _:
            return []
    match given.get("aliases"):
        case ast.Tuple(elts=former) | ast.List(elts=former):
            names += former
        case _:
            pass
    if variable not in services:
        return []
    own = [name.value for name in names if isinstance(name, ast.Constant)]
    return [
        name if "." in name else f"{services[variable]}.{name}"
        for name in own
        if isinstance(name, str)
    ]
