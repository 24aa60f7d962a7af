"""The registry: finds services and tasks by name, and loads the modules that define them."""

from __future__ import annotations

import importlib
import importlib.util
import sys
import sysconfig
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dama import clock
from dama.config.config import current_folder
from dama.config.table import Table
from dama.definitions.adhoc import adhoc
from dama.definitions.broken import BrokenModule, broken
from dama.definitions.errors import (
    DuplicateNameError,
    ModuleLoadError,
    UnknownLauncherError,
    UnknownServiceError,
    UnknownTaskError,
)
from dama.definitions.inherit import read_inherit
from dama.definitions.service import Service
from dama.errors import DamaError, InvalidDefinitionError
from dama.shapes import as_object

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from traceback import StackSummary
    from types import ModuleType

    from dama.config.config import Config
    from dama.definitions.task import TaskDefinition


class Registry:
    """The services of this process, by name.

    Args:
        services: Those to begin with.

    Attributes:
        inherit: What all programs get of the worker's environment besides what all need.
        broken: The modules that could not be imported, by name.
        seconds: How long the import of each module took.
        root: The folder that modules are imported from.
    """

    def __init__(self, services: Iterable[Service] = ()) -> None:
        self.inherit: tuple[str, ...] = ()
        self.broken: dict[str, BrokenModule] = {}
        self.seconds: dict[str, float] = {}
        self.root = current_folder()
        self._has_file = True
        self._services: dict[str, Service] = {}
        for service in services:
            self.add(service)

    @property
    def services(self) -> Mapping[str, Service]:
        """The services by name, in alphabetical order."""
        return dict(sorted(self._services.items()))

    @property
    def tasks(self) -> Mapping[str, TaskDefinition[Any]]:
        """All tasks by their full names, in alphabetical order of the services."""
        return {
            task.name: task for service in self.services.values() for task in service.tasks.values()
        }

    @property
    def names(self) -> list[str]:
        """The names of all tasks, former ones included."""
        return [name for task in self.tasks.values() for name in task.names]

    def add(self, service: Service) -> None:
        """Add a service; the same one again changes nothing.

        Raises:
            DuplicateNameError: Another service has this name.
        """
        if self._services.setdefault(service.name, service) is not service:
            raise DuplicateNameError(
                f"Two services have the name {service.name!r}.",
                "Rename one of them, or import the same one in both modules.",
            )

    def service(self, name: str) -> Service:
        """Find a service.

        Raises:
            UnknownServiceError: There is none; the nearest names are in the hint.
        """
        if found := self._services.get(name):
            return found
        hint = self._nearest(name, self._services)
        if why := self.why_absent(f"{name}."):
            raise UnknownServiceError(f"The service {name!r} is broken: {why}", hint)
        raise UnknownServiceError(f"There is no service {name!r}.", hint)

    def task(self, name: str) -> TaskDefinition[Any]:
        """Find a task by its full name.

        Raises:
            UnknownTaskError: There is none; the nearest names are in the hint.
            BrokenTaskError: Its module cannot be imported, or one with its service.
        """
        service, _, short_name = name.partition(".")
        if name == adhoc.name:
            return adhoc
        if service in self._services and short_name in (tasks := self._services[service].tasks):
            return tasks[short_name]
        if former := [task for task in self.tasks.values() if name in task.names]:
            return former[0]
        for module in self.broken.values():
            module.refuse(name)
        hint = self._nearest(name, self.tasks)
        if self.broken:
            hint = f"{hint} Not imported: {', '.join(self.broken)}."
        for module in self.broken.values():
            module.refuse_part(name, hint)
        raise UnknownTaskError(f"There is no task {name!r}.", hint)

    def why_absent(self, name: str) -> str | None:
        """Why a task or an action of this full name may not be there: its module is broken."""
        found = (each.error.message for each in self.broken.values() if each.may_have(name))
        return next(found, None)

    def load(self, config: Config) -> None:
        """Load the modules of a project and read its programs.

        Raises:
            DamaError: One of them cannot be used; see `load_modules` and `add_programs`.
            UnknownLauncherError: A task asks for a launcher that the settings do not have.
        """
        self._has_file = bool(config.source)
        self.load_modules(config.services, config.project)
        self.add_programs(config.programs, config.source, config.project)
        self.let_inherit(config.inherit, config.source)
        for task in self.tasks.values():
            if (name := task.options.launcher) and name not in config.launchers:
                raise UnknownLauncherError(name, config.launchers, of=task.name)

    def add_programs(self, programs: Mapping[str, object], source: str, root: Path) -> None:
        """Add the programs that a settings file declares; each joins the service of its name.

        Args:
            programs: The declarations by full name, such as `flights.import`.
            source: The name of the file.
            root: Its folder, where relative paths begin.

        Raises:
            InvalidDefinitionError: A name or a key cannot be used; the message names it.
            DuplicateNameError: A module has a task of this name.
        """
        for name, values in programs.items():
            service, _, short_name = name.partition(".")
            if not short_name:
                raise InvalidDefinitionError(
                    f"{source}: programs.{name}: expected the name of a service, a dot and a name.",
                    _quoted(name, values),
                )
            found = self._services.get(service) or Service(service)
            found.declare(short_name, values, place=source, base=root)
            self.add(found)

    def let_inherit(self, inherit: object, source: str) -> None:
        """Give all programs more of the worker's environment, as a settings file says.

        Raises:
            InvalidDefinitionError: It is not a list of names.
        """
        self.inherit = read_inherit(Table(source, {"inherit": inherit}, ["inherit"]))

    def load_modules(self, names: Iterable[str], root: Path) -> None:
        """Import modules and add the services that they have at their top level.

        Args:
            names: Dotted names, such as `examples.flights`.
            root: The folder of the project, searched first.

        Raises:
            ModuleLoadError: None can be used: one is not there, fails when it is imported, or has
                no service. Where others can be used it is in `broken`.
            DuplicateNameError: Two services have the same name.
        """
        self.root = root
        if str(root) not in sys.path:
            sys.path.insert(0, str(root))
        names = [*names]
        errors: list[DamaError] = []
        for name in names:
            begun = clock.monotonic()
            try:
                services = _services_of(name, root)
            except DamaError as error:
                errors.append(error)
                self.broken[name] = broken(name, error)
                continue
            finally:
                self.seconds[name] = clock.monotonic() - begun
            for service in services:
                self.add(service)
        if errors and len(errors) == len(names):
            raise errors[0]

    def how_to_begin(self) -> str:
        """What to do where there is no service: often it is the wrong folder."""
        example = 'services = ["my_project.flights"]'
        if self._has_file:
            return f"Name the modules with services in dama.toml: {example}"
        return (
            f"There is no dama.toml in {self.root} or above it: change to the folder of the "
            f"project, or write one: {example}"
        )

    def _nearest(self, name: str, known: Iterable[str]) -> str:
        names = list(known)
        near = get_close_matches(name, names, n=3, cutoff=0.6)
        # A task may be asked for by its last part, or as service:task.
        near += [n for n in names if n.rpartition(".")[2] == name and n not in near]
        if near:
            return f"Did you mean {' or '.join(near[:3])}? `dama services` lists all."
        if names:
            return (
                "`dama services` lists those that are there. "
                "They come from the modules that services in dama.toml names."
            )
        return self.how_to_begin()


def _services_of(name: str, root: Path) -> list[Service]:
    module = _import(name, root)
    services = [v for v in vars(module).values() if isinstance(v, Service)]
    if services:
        return services
    file = getattr(module, "__file__", None)
    hint = 'Its top level should have one: flights = Service("flights")'
    if name in sys.stdlib_module_names:
        hint = "Python has a module of this name, which comes first: rename that of the project."
    raise ModuleLoadError(
        name, f"The module {name!r}{f' ({file})' if file else ''} has no service.", hint
    )


def _quoted(name: str, values: object) -> str:
    """What was meant: TOML takes a dot without quotes for a table within a table."""
    below = as_object(values)
    inner = next((key for key, value in below.items() if isinstance(value, dict)), None)
    if inner and "command" not in below:
        return f'Names with a dot need quotes: [programs."{name}.{inner}"].'
    return f'Write [programs."SERVICE.{name}"].'


def _import(name: str, root: Path) -> ModuleType:
    try:
        return _running_as_main(name) or importlib.import_module(name)
    except DamaError:
        raise  # a wrong definition says itself what is wrong
    except ModuleNotFoundError as error:
        if error.name and (name == error.name or name.startswith(f"{error.name}.")):
            raise ModuleLoadError(
                name,
                f"There is no module {name!r} in {root} or in the environment.",
                "It is named in dama.toml, [tool.dama] or --services: correct the name there.",
            ) from error
        raise _failed(name, error) from error
    except KeyboardInterrupt as interrupt:
        interrupt.add_note(f"The module {name!r} was being imported{_innermost_line(interrupt)}.")
        raise
    except SystemExit as error:
        raise ModuleLoadError(
            name,
            f"The module {name!r} ends the process when it is imported: "
            f"{type(error).__name__}: {error}{_innermost_line(error)}",
            'Put what it does as a program below `if __name__ == "__main__":`.',
        ) from error
    except BaseException as error:  # nothing that a module raises ends a command without a word
        raise _failed(name, error) from error


def _running_as_main(name: str) -> ModuleType | None:
    """A module that was started as the program is there already, as `__main__`."""
    main = sys.modules["__main__"]
    file = getattr(main, "__file__", None)
    if not file or name in sys.modules:
        return None
    spec = importlib.util.find_spec(name)
    same = (
        spec is not None and spec.origin is not None and Path(spec.origin) == Path(file).resolve()
    )
    return main if same else None


def _failed(name: str, error: BaseException) -> ModuleLoadError:
    where = _innermost_line(error)
    return ModuleLoadError(
        name,
        f"The module {name!r} cannot be imported: {type(error).__name__}: {error}{where}",
        "Run with --debug to see the traceback.",
    )


def _innermost_line(error: BaseException) -> str:
    """Where it happened: the last line of the project, else of anything but the import itself."""
    import traceback

    if isinstance(error, SyntaxError):  # says it itself
        return ""
    frames: StackSummary = traceback.extract_tb(error.__traceback__)
    machinery = ("importlib", "<frozen ")
    frames_of_code = [f for f in frames if not any(m in f.filename for m in machinery)]
    libraries = (*map(sysconfig.get_path, ("stdlib", "purelib", "platlib")), __file__)
    own = [f for f in frames_of_code if not f.filename.startswith(libraries)]
    own = own or [f for f in frames_of_code if f.filename != __file__]
    return f" ({own[-1].filename}:{own[-1].lineno})" if own else ""
