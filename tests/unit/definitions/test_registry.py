"""The registry: names that are found, names that nearly are, and modules that fail to load."""

import subprocess
import sys
from itertools import count

import pytest

from dama.config.config import load_config
from dama.definitions.errors import (
    DuplicateNameError,
    ModuleLoadError,
    UnknownServiceError,
    UnknownTaskError,
)
from dama.definitions.registry import Registry
from dama.definitions.service import Service
from dama.errors import InvalidDefinitionError

numbers = count()

SERVICE = """
from dama.definitions.service import Service
flights = Service("flights")
@flights.task
async def load(task): ...
"""


@pytest.fixture
def module(tmp_path, monkeypatch):
    """Write a module under a name that no other test has imported."""
    monkeypatch.setattr(sys, "path", list(sys.path))

    def write(text):
        name = f"written_{next(numbers)}"
        (tmp_path / f"{name}.py").write_text(text)
        return name

    yield write
    for name in [n for n in sys.modules if n.startswith("written_")]:
        del sys.modules[name]


def registry_of(*names):
    registry = Registry()
    for name in names:
        service, _, task = name.partition(".")
        registry.add(found := registry.services.get(service) or Service(service))
        found.task(name=task)(lambda task: None)
    return registry


def test_a_folder_without_settings_is_named_where_nothing_is_found(tmp_path):
    """Most often it is the wrong one."""
    registry = Registry()
    registry.load(load_config(cwd=tmp_path, environ={"HOME": "/h"}))
    with pytest.raises(UnknownTaskError) as caught:
        registry.task("flights.load")
    assert f"no dama.toml in {tmp_path}" in caught.value.hint


def test_a_task_is_found_by_its_full_name():
    registry = registry_of("weather.load", "flights.load", "flights.count")

    assert registry.task("flights.count").name == "flights.count"
    assert list(registry.tasks) == ["flights.load", "flights.count", "weather.load"]
    assert registry.service("weather").name == "weather"


@pytest.mark.parametrize("wrong", ["flights.laod", "flight.load", "load", "flights:load"])
def test_the_nearest_tasks_are_named(wrong):
    with pytest.raises(UnknownTaskError, match=f"no task '{wrong}'") as caught:
        registry_of("flights.load", "stars.count").task(wrong)

    assert "Did you mean flights.load?" in caught.value.hint
    assert caught.value.exit_code == 2


def test_the_nearest_service_is_named():
    with pytest.raises(UnknownServiceError) as caught:
        registry_of("flights.load").service("fligths")

    assert "Did you mean flights?" in caught.value.hint


def test_without_any_service_the_hint_says_how_to_name_modules():
    with pytest.raises(UnknownTaskError) as caught:
        Registry().task("flights.load")

    assert "dama.toml" in caught.value.hint


def test_two_services_of_one_name_are_refused():
    flights = Service("flights")
    registry = Registry([flights, flights])

    with pytest.raises(DuplicateNameError):
        registry.add(Service("flights"))


def test_modules_are_imported_from_the_root(module, tmp_path):
    registry = Registry()

    registry.load_modules([module(SERVICE)], tmp_path)

    assert list(registry.tasks) == ["flights.load"]


def test_a_module_that_is_not_there(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "path", list(sys.path))

    with pytest.raises(ModuleLoadError, match=r"no module 'nowhere\.flights' in") as caught:
        Registry().load_modules(["nowhere.flights"], tmp_path)

    assert caught.value.module == "nowhere.flights"


def test_a_module_whose_own_import_is_missing_is_not_called_missing(module, tmp_path):
    """The difference decides where somebody looks: in dama.toml, or in the module."""
    name = module("x = 1\nimport not_installed_anywhere")

    with pytest.raises(ModuleLoadError) as caught:
        Registry().load_modules([name], tmp_path)

    assert f"{name!r} cannot be imported: ModuleNotFoundError" in str(caught.value)
    assert f"{name}.py:2" in str(caught.value)
    assert isinstance(caught.value.__cause__, ModuleNotFoundError)
    assert "--debug" in caught.value.hint


def test_a_module_that_fails_says_where(module, tmp_path):
    name = module("def f():\n    return 1 / 0\nf()")

    with pytest.raises(ModuleLoadError, match=rf"ZeroDivisionError: .*{name}\.py:2\)"):
        Registry().load_modules([name], tmp_path)


@pytest.mark.parametrize(
    ("ending", "message"),
    [
        ("import sys; sys.exit()", "SystemExit"),
        ("import sys; sys.exit(0)", "SystemExit: 0"),
        ("raise SystemExit('no database')", "SystemExit: no database"),
        ("exit(3)", "SystemExit: 3"),
        ("import argparse; argparse.ArgumentParser().parse_args(['--no-such'])", "SystemExit: 2"),
    ],
)
def test_a_module_that_exits_when_it_is_imported_ends_no_command_without_a_word(
    module, tmp_path, ending, message
):
    """A script with its work at the top level is taken for a module sooner or later."""
    name = module(f"x = 1\n{ending}")

    # The line of the module, not the one of the library that it called.
    with pytest.raises(ModuleLoadError, match=rf"ends the .*{message}.*{name}\.py:2\)") as caught:
        Registry().load_modules([name], tmp_path)

    assert "__main__" in caught.value.hint
    assert caught.value.exit_code == 2


def test_a_module_of_python_that_is_taken_for_one_of_the_project_is_named(tmp_path):
    (tmp_path / "json.py").write_text(SERVICE)
    with pytest.raises(ModuleLoadError, match=r"'json' \(.*__init__.py\) has no s") as caught:
        Registry().load_modules(["json"], tmp_path)
    assert "rename" in caught.value.hint


@pytest.mark.parametrize("error", ["GeneratorExit", "__import__('asyncio').CancelledError"])
def test_a_module_that_raises_what_is_no_exception_says_where(module, tmp_path, error):
    name = module(f"raise {error}")

    with pytest.raises(ModuleLoadError, match=rf"cannot be imported.*{name}\.py:1\)"):
        Registry().load_modules([name], tmp_path)


def test_an_interrupt_in_the_middle_of_an_import_says_where(module, tmp_path):
    """Ctrl-C of a person stays an interrupt."""
    name = module("raise KeyboardInterrupt")

    with pytest.raises(KeyboardInterrupt) as caught:
        Registry().load_modules([name], tmp_path)

    assert f"{name}.py:1" in caught.value.__notes__[0]


def test_a_syntax_error_says_where(module, tmp_path):
    name = module("def f(:")

    with pytest.raises(ModuleLoadError, match=rf"SyntaxError.*{name}\.py, line 1"):
        Registry().load_modules([name], tmp_path)


def test_a_wrong_definition_speaks_for_itself(module, tmp_path):
    name = module("from dama.definitions.service import Service\nService('No!')")

    with pytest.raises(InvalidDefinitionError, match="'No!' cannot be the name"):
        Registry().load_modules([name], tmp_path)


def test_a_module_without_a_service(module, tmp_path):
    with pytest.raises(ModuleLoadError, match="has no service"):
        Registry().load_modules([module("x = 1")], tmp_path)


def test_a_module_that_runs_as_the_program_is_not_imported_again(tmp_path):
    """`python hello.py` and `services = ["hello"]` would give two services of one name."""
    (tmp_path / "hello.py").write_text(
        f"{SERVICE}\n"
        "if __name__ == '__main__':\n"
        "    from pathlib import Path\n"
        "    from dama.definitions.registry import Registry\n"
        "    registry = Registry([flights])\n"
        "    registry.load_modules(['hello'], Path.cwd())\n"
        "    print(*registry.tasks)\n"
    )

    for arguments in (["hello.py"], ["-m", "hello"]):
        done = subprocess.run(
            [sys.executable, *arguments], cwd=tmp_path, capture_output=True, text=True, check=False
        )
        assert done.stdout == "flights.load\n", done.stderr
