"""`dama.testing.replay`: the code of today against runs that were exported."""

from pathlib import Path

import pytest

from dama import Service, Slice, Task
from dama.app import App
from dama.bundles.errors import BundleError
from dama.definitions.registry import Registry
from dama.operations import bundles
from dama.testing import databases, replay, run

books = Service("test_books")
pages_read = Slice("test_books_read", initial=0)
code = {"step": "print"}
printed: list[int] = []


@pages_read.reducer
def page_read(state: int, by: int) -> int:
    """Add."""
    return state + by


def page(n: int) -> int:
    """What a replay must not do."""
    printed.append(n)
    return n


@books.task
async def chapter(task: Task, n: int) -> int:
    """One step, whose name the test may change."""
    return await task.step(code["step"], page, n)


@books.task
async def book(task: Task, chapters: int = 2, *, ends: bool = True) -> int:
    """Chapters, a dispatch, perhaps an answer."""
    done = sum(await task.map(chapter, [{"n": n} for n in range(chapters)]))
    await task.dispatch(page_read(done))
    return done if ends else await task.wait_for("read")


@pytest.fixture(autouse=True)
def code_as_it_was():
    code["step"] = "print"


@pytest.fixture
def exported(tmp_path):
    """A function that runs a book, and exports it."""

    async def export(context_id: int, path: Path) -> None:
        async with databases.opened(databases.shared()) as store:
            await bundles.export(App(store, Registry([]), tmp_path), [context_id], path)

    def make(**params):
        ran = run(book, params)
        path = tmp_path / "book.zip"
        databases.thread().answer(export(ran.context_id, path))
        printed.clear()
        return path

    return make


def test_code_that_has_not_changed_fits(exported):
    """Nothing is done again, and slices are folded from what was recorded."""
    replayed = replay(exported(chapters=3))

    assert printed == []
    assert [row.task for row in replayed.contexts] == ["test_books.book"] + [
        "test_books.chapter"
    ] * 3
    assert replayed.state(pages_read) == 3
    assert replayed.misfits == []


def test_a_run_that_had_not_ended_is_held_as_far_as_it_came(exported):
    """It is cancelled in the database of the test, which is not in its record."""
    assert replay(str(exported(ends=False))).misfits == []


def test_code_that_has_changed_is_told_with_both_sides(exported):
    """The first place of each context."""
    path = exported()
    code["step"] = "write"

    with pytest.raises(AssertionError, match=r"(?s)chapter: diverged.*recorded: .*print.*write"):
        replay(path)
    assert len(replay(path, fits=False).misfits) == 2


def test_a_file_that_is_none_is_an_error(tmp_path):
    """And not a test that passes."""
    (tmp_path / "a.zip").write_text("no")

    with pytest.raises(BundleError, match="no zip file"):
        replay(tmp_path / "a.zip")
