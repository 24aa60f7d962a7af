"""Definitions that change: former names, modules that are broken, profiles and own settings."""

import subprocess
from pathlib import Path

import pytest
from pydantic import BaseModel, SecretStr

import dama
from dama import Service, SyncTask, Task
from dama.config.config import ConfigError, load_config
from dama.config.profiles import UnknownProfileError
from dama.definitions.errors import BrokenTaskError, UnknownServiceError, UnknownTaskError
from dama.definitions.registry import Registry
from dama.errors import InvalidDefinitionError
from dama.testing import run
from dama.testing.running import registry_of
from dama.worker.offer import offer_of

changing = Service("changing")


@changing.task(aliases=("old-load", "legacy.load"))
async def load(task: Task, n: int = 1) -> str:
    """Had other names."""
    return f"{task.name} {n}"


@changing.task
async def parent(task: Task) -> list[str]:
    """Knows the former names only."""
    return [await task.run("legacy.load", {"n": 2}), await task.run("changing.old-load")]


@changing.task
def by_name(task: SyncTask) -> str:
    """A program of another service, by its name."""
    return str(task.run("changing.import"))


program = changing.program("import", command=["sh", "-c", "exit 0"])

GOOD = """
from dama import Service, Task
good = Service("good")

@good.task
async def load(task: Task) -> int:
    return 1
"""
BAD = """
from dama import Service, Task
bad = Service("bad")


@bad.task
async def load(task: Task) -> int:
    return 1


@bad.task(name="other", retries=2)
def second(task) -> int:
    return 2

undefined_name
"""


def test_a_former_name_finds_the_task():
    registry = registry_of(load)
    assert registry.task("changing.old-load") is registry.task("legacy.load") is load
    assert {"changing.load", "changing.old-load", "legacy.load"} <= set(registry.names)
    with pytest.raises(UnknownTaskError):
        registry.task("legacy.loads")
    with pytest.raises(InvalidDefinitionError, match=r"aliases is the string 'old'"):
        changing.task(name="wrong", aliases="old")(load.function)


def test_a_run_that_was_queued_by_its_former_name_is_run(tmp_path):
    assert run(parent).result == ["changing.load 2", "changing.load 1"]
    offer = offer_of(registry_of(load), tmp_path, {"slots": 1})
    assert "legacy.load" in offer.tasks


def test_a_program_of_a_service_is_run_by_its_name():
    assert run(by_name, stub={"changing.import": lambda: "stubbed"}).result == "stubbed"


@pytest.fixture
def project(tmp_path, monkeypatch):
    """Two modules, one of which is broken."""
    name = tmp_path.name.replace("-", "_")
    (tmp_path / f"good_{name}.py").write_text(GOOD)
    (tmp_path / f"bad_{name}.py").write_text(BAD)
    monkeypatch.syspath_prepend(str(tmp_path))
    return tmp_path, f"good_{name}", f"bad_{name}"


def test_a_broken_module_takes_nothing_with_it_but_its_own_tasks(project):
    """Who asks for one of them is told where it is, and why it is not there."""
    folder, good, bad = project
    registry = Registry()
    registry.load_modules([bad, good], folder)

    assert list(registry.tasks) == ["good.load"]
    assert list(registry.broken[bad].tasks) == ["bad.load", "bad.other"]
    assert set(registry.seconds) == {good, bad}
    with pytest.raises(BrokenTaskError, match=rf"bad\.load .*{bad}\.py:7\).*undefined_name.*:15"):
        registry.task("bad.load")
    with pytest.raises(UnknownTaskError) as raised:
        registry.task("bad.third")
    assert f"Not imported: {bad}" in str(raised.value.hint)


@pytest.mark.parametrize(
    ("text", "asked", "said"),
    [
        (BAD, "bad.third", r"no task 'bad\.third', but it may be in what is broken: .*:15"),
        (
            BAD.replace("(name=", "(aliases=('old',), name="),
            "bad.old",
            r"bad\.old .*:12\) is broken",
        ),
        (BAD.replace("2)", "2, aliases=['was.so'])"), "was.so", r"was\.so .*:12\) is broken"),
        (BAD.replace("return", "return return"), "bad.load", "may be in what is broken: .*line 8"),
        (BAD + 'bad.program("import", command=["a"])', "bad.import", r":16\) is broken"),
        (
            "import dama\nbad: dama.Service = dama.Service(name='bad')\nbad.x",
            "bad.load",
            "may be in what is broken: .*:3",
        ),
    ],
)
def test_what_is_asked_of_a_service_names_its_broken_module(project, text, asked, said):
    """Whatever its text tells: a former name, a program, or only the name of the service."""
    folder, good, bad = project
    (folder / f"{bad}.py").write_text(text)
    registry = Registry()
    registry.load_modules([bad, good], folder)

    with pytest.raises(BrokenTaskError, match=said):
        registry.task(asked)
    with pytest.raises(UnknownServiceError, match=f"'bad' is broken: .*{bad}"):
        registry.service("bad")
    assert bad in registry.why_absent("v2.bad.look")
    assert registry.why_absent("good.look") is None


def test_a_broken_module_is_named_by_the_commands(project, database_url, forked):
    folder, good, bad = project
    (folder / "dama.toml").write_text(f'services = ["{good}", "{bad}"]\n')

    def type_(*arguments):
        return subprocess.run(
            [forked.dama, *arguments],
            cwd=folder, capture_output=True, text=True, check=False,
            env={"PATH": "/usr/bin:/bin", "HOME": str(folder), "DAMA_DATABASE_URL": database_url},
        )  # fmt: skip

    listed = type_("services")
    assert listed.returncode == 0
    assert f"bad.load   broken, {folder / bad}.py:7" in listed.stdout
    assert "Left out: bad.load, bad.other." in listed.stderr
    ran = type_("run", "bad.load")
    assert ran.returncode == 2
    assert "is broken: The module" in ran.stderr
    called = type_("call", "bad.look")
    assert called.returncode == 4
    assert f"Hint: The module {bad!r} cannot be imported" in called.stderr
    assert type_("run", "good.load").returncode == 0
    looked = type_("doctor")
    assert "modules" in looked.stdout
    assert "undefined_name" in looked.stdout


class Own(BaseModel, extra="forbid"):
    """The settings of a project."""

    batch: int
    url: str = "none"
    password: SecretStr | None = None


TOML = """
database_url = "postgresql://localhost/one"

[settings]
batch = 500
url = "${API_URL:-http://localhost}"

[gateway]
port = 8080

[profiles.prod]
database_url = "postgresql://db/prod"

[profiles.prod.settings]
password = "${API_PASSWORD}"

[profiles.prod.gateway]
host = "127.0.0.1"

[profiles.bad.settings]
batch = "many"
size = 3
"""


def write(folder: Path) -> None:
    """The file."""
    (folder / "dama.toml").write_text(TOML)


def test_a_profile_is_laid_over_the_settings(tmp_path):
    write(tmp_path)
    base = load_config(cwd=tmp_path, environ={})
    assert base.settings == {"batch": 500, "url": "http://localhost"}
    prod = load_config(
        cwd=tmp_path, environ={"DAMA_PROFILE": "prod", "API_PASSWORD": "word", "API_URL": "x"}
    )
    assert prod.settings == {"batch": 500, "url": "x", "password": "word"}
    assert prod.gateway == {"port": 8080, "host": "127.0.0.1"}
    assert "db/prod" in prod.database.conninfo  # pyright: ignore[reportAttributeAccessIssue]
    assert load_config(cwd=tmp_path, environ={}, profile="bad").profile == "bad"
    with pytest.raises(UnknownProfileError, match="no profile 'prd'; it has prod, bad"):
        load_config(cwd=tmp_path, environ={}, profile="prd")


def test_own_settings_are_read_in_a_type(tmp_path, monkeypatch):
    write(tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DAMA_PROFILE", raising=False)
    assert dama.settings(Own) == Own(batch=500, url="http://localhost")
    monkeypatch.setenv("DAMA_PROFILE", "prod")
    monkeypatch.setenv("API_PASSWORD", "word")
    password = dama.settings(Own).password
    assert password is not None
    assert password.get_secret_value() == "word"
    monkeypatch.setenv("DAMA_PROFILE", "bad")
    with pytest.raises(ConfigError) as raised:
        dama.settings(Own)
    assert "batch: Input should be a valid integer" in str(raised.value)
    assert "size: Extra inputs" in str(raised.value)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("profiles = 5", "profiles of .* must be a table"),
        ("[profiles]\nprod = 5", "profiles.prod of .* must be a table"),
        ("[profiles.prod]\nservice = []", "unknown setting 'service'"),
        ("[profiles.a.profiles.b]", "has profiles itself"),
        ("settings = 3", "settings of .* must be a table"),
    ],
)
def test_a_profile_that_makes_no_sense_is_refused(tmp_path, text, words):
    (tmp_path / "dama.toml").write_text(text)
    with pytest.raises(ConfigError, match=words):
        load_config(cwd=tmp_path, environ={})
