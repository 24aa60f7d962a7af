"""`dama export` and `dama import-run`, as they are typed."""

import asyncio
import json

import pytest

from dama.cli import main
from dama.domain.event import Event
from dama.store import Append, Start
from tests.conftest import fresh_database


@pytest.fixture
def elsewhere_url(server, template):
    yield from fresh_database(server, template)


@pytest.fixture
async def dama(database_url, monkeypatch, capsys):
    """A function that runs a command in a database; returns its code and what it printed."""

    async def run(*arguments, url=database_url):
        monkeypatch.setenv("DAMA_DATABASE_URL", url)
        code = await asyncio.to_thread(main, [*map(str, arguments)])
        printed = capsys.readouterr()
        return code, printed.out, printed.err

    return run


async def test_contexts_are_exported_and_imported(store, dama, elsewhere_url, tmp_path):
    """What came in, what was there, and what was ended is said."""
    first, second = await store.start([Start("a.b", {"n": n}) for n in range(2)])
    await store.append_many([Append(first, Event("a.b:FINAL", 1))])
    path = tmp_path / "runs.zip"

    code, printed, _ = await dama("export", first, second, path)
    assert (code, "2 contexts, 3 events" in printed) == (0, True)
    code, printed, errors = await dama("import-run", path, url=elsewhere_url)
    assert code == 0
    assert f"Context 1 is context {first} of " in printed
    assert "had not ended, and are cancelled here: 2." in errors
    code, printed, _ = await dama("import-run", path, url=elsewhere_url)
    assert (code, printed.count("is here already")) == (0, 2)
    code, printed, _ = await dama("import-run", path, "--json", url=elsewhere_url)
    assert [each["context_id"] for each in json.loads(printed)["known"]] == [1, 2]
    code, printed, _ = await dama("show", 2, url=elsewhere_url)
    assert f"imported from  {second} of database" in printed


async def test_all_contexts_that_are_like_something_are_exported(store, dama, tmp_path):
    """At most so many, the newest."""
    await store.start([Start("a.b", {})] * 3)
    await store.start([Start("c.d", {})])
    path = tmp_path / "runs.zip"

    command = ["export", "--where", "task=a.b", "--json", "--limit"]
    code, printed, errors = await dama(*command, 2, path)

    assert (code, json.loads(printed)["contexts"]) == (0, 2)
    assert "the newest 2 are written" in errors
    _, printed, errors = await dama(*command, 3, tmp_path / "all.zip")
    assert (json.loads(printed)["contexts"], errors) == (3, "")


WRONG = {
    "no contexts": (["FILE"], "Give the contexts, or --where"),
    "contexts and --where": (["1", "FILE", "--where", "task=a.b"], "Give the contexts, or --where"),
    "none is like that": (["FILE", "--where", "task=typo"], "No context matches"),
    "an odd --where": (["FILE", "--where", "colour=red"], "is not one of task="),
    "two for Redux DevTools": (["1", "2", "FILE", "--format", "redux-devtools"], "give just one"),
    "a slice for a bundle": (["1", "FILE", "--slice", "x"], "(--slice) are for"),
    "logs for Parquet": (["1", "FILE", "--format", "parquet", "--logs"], "are for bundles"),
    "an unknown context": (["7", "FILE"], "There is no context 7"),
    "an unknown slice": (
        ["1", "FILE", "--format", "redux-devtools", "--slice", "typo"], "no slice 'typo'",
    ),
    "a folder that is not there": (["1", "/none/such.zip"], "cannot be written"),
}  # fmt: skip


@pytest.mark.parametrize(("typed", "said"), WRONG.values(), ids=WRONG)
async def test_what_cannot_be_exported_is_said(store, dama, tmp_path, typed, said):
    """And no file is left."""
    await store.start([Start("a.b", {})])

    code, _, errors = await dama(
        "export", *(str(tmp_path / "x") if t == "FILE" else t for t in typed)
    )

    assert code != 0
    assert said in errors
    assert list(tmp_path.glob("*x*")) == []


async def test_what_is_no_bundle_is_said(store, dama, tmp_path):
    """A file that is not there, and one of another kind."""
    (tmp_path / "text").write_text("text")

    for name, said in (("none.zip", "cannot be read"), ("text", "it is no zip file")):
        code, _, errors = await dama("import-run", tmp_path / name)
        assert (code, said in errors) == (2, True)
