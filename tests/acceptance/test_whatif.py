"""`dama whatif`: history through the reducers of another module, and nothing is kept."""

import json

import psycopg
import pytest

TODAY = """
from dama import Service, Slice, Task

loads = Service("loads")
rows = Slice("rows", initial={})


@rows.reducer
def loaded(state: dict[str, int], row: dict) -> dict[str, int]:
    return {**state, row["month"]: row["rows"]}


@loads.task
async def load(task: Task, months: int = 2) -> None:
    for month in range(months):
        await task.dispatch(loaded({"month": str(month), "rows": 10 * month}))
"""
SUM = "return {**state, row['month']: row['rows']}"
CACHES = "SELECT count(*) FROM _data_manager_admin.slice_rung"


@pytest.fixture
def ran(dama):
    """Three contexts, with two, three and four events of the slice."""
    (dama.folder / "loads.py").write_text(TODAY)
    (dama.folder / "dama.toml").write_text('services = ["loads"]\n')
    for months in (2, 3, 4):
        assert dama("run", "loads.load", "--months", str(months), "--quiet").returncode == 0
    return dama


def module(dama, change):
    """Another version of the module, in a file beside it."""
    (dama.folder / "other").mkdir(exist_ok=True)
    (dama.folder / "other" / "loads.py").write_text(change(TODAY))
    return "other/loads.py"


def test_the_same_reducers_give_the_same_states(ran):
    """However often they are asked."""
    done = ran("whatif", "rows", "--module", module(ran, lambda text: text))
    assert done.returncode == 0, done.stderr
    assert "0 of 3 contexts" in done.stdout


def test_the_first_event_with_another_state_is_named(ran, database_url):
    """With what would be different after it; a context without it stays as it is."""
    other = module(ran, lambda text: text.replace('row["rows"]}', 'row["rows"] // 20 * 20}'))
    done = ran("whatif", "rows", "--module", other, "--json")
    assert done.returncode == 1, done.stderr
    found = json.loads(done.stdout)
    assert (found["contexts"], found["different"]) == (3, 3)
    for each in found["differences"]:
        assert each["type"] == "rows/loaded"
        assert each["changes"] == [{"path": "/1", "kind": "changed", "before": 10, "after": 0}]
    with psycopg.connect(database_url) as connection:
        assert connection.execute(CACHES).fetchone() == (0,)


def test_a_reducer_that_raises_is_told_with_its_event(ran):
    """Only the contexts that have such an event."""
    broken = 'row["rows"] if row["rows"] < 25 else 1 // 0}'
    other = module(ran, lambda text: text.replace('row["rows"]}', broken))
    done = ran("whatif", "rows", "--module", other)
    assert done.returncode == 1
    assert "1 of 3 contexts" in done.stdout
    assert "ZeroDivisionError" in done.stdout


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("rows", "import nothing_like_that\n", "nothing_like_that"),
        ("rows", "import dama\n", "rows"),
        ("rwos", TODAY, "rwos"),
    ],
)
def test_what_cannot_be_folded_is_said(ran, name, text, said):
    """A module that is not importable or has no such slice."""
    done = ran("whatif", name, "--module", module(ran, lambda _: text))
    assert done.returncode not in (0, 1)
    assert said in done.stderr
