"""What a check found, beside what it found in the runs of its task before."""

from dama import Service, Task
from dama.app import App
from dama.definitions.registry import Registry
from dama.domain.event import Event
from dama.operations import contexts
from dama.store import Start
from dama.testing import run
from tests.acceptance.command import Command

stations = Service("stations")


@stations.task
async def measure(task: Task) -> None:
    for name in ("low/high: 5 %", "late"):
        await task.check(name, lambda: 11, severity="warn")
    await task.check("strict", lambda: 7)


async def checked(store, task, *found):
    """A run in which checks found something; what is no number is no count."""
    (context_id,) = await store.start([Start(task, {}, delay=3600)])
    events = [
        Event(
            f"{task}/check:{name}:{end}",
            {"count": count} if end == "DONE" else {"data": {"count": count}},
        )
        for name, end, count in found
    ]
    await store.append(context_id, events)
    return context_id


async def test_a_check_is_shown_beside_the_ten_runs_of_its_task_before(
    store, forked, tmp_path, database_url
):
    """Other tasks and later runs do not count; of a run the latest attempt counts."""
    name = "stations.measure"
    ids = [
        await checked(
            store, name, ("late", "DONE", count), ("low/high: 5 %", "DONE", 3),
            ("strict", "FAILED", 5),
        )
        for count in range(10)
    ]  # fmt: skip
    ids.append(await checked(store, name, ("late", "DONE", "?"), ("strict", "FAILED", 5)))
    await checked(store, f"{name}s", ("late", "DONE", 99))
    own = run(measure, database=database_url).context_id
    await checked(store, name, ("late", "DONE", 99))
    app = App(store, Registry([stations]), tmp_path)

    warned, late, strict = (await contexts.read(app, own)).checks
    assert [warned.name, late.name, strict.name] == ["low/high: 5 %", "late", "strict"]
    assert (warned.count, late.count, warned.failed) == (11, 11, False)
    assert [old.count for old in late.earlier] == [*range(9, 0, -1)]
    assert [old.context_id for old in warned.earlier] == ids[-2:0:-1]
    assert (strict.count, strict.failed) == (7, True)
    assert [(old.count, old.failed) for old in strict.earlier] == [(5, True)] * 10
    first = (await contexts.read(app, ids[0])).checks
    assert [list(each.earlier) for each in first] == [[]] * 3

    command = Command(tmp_path, forked.environ(DAMA_DATABASE_URL=database_url))
    lines = command("show", own, check=True).stdout.splitlines()
    assert [line.split() for line in lines if line.startswith("late ")] == [
        ["late", "11", "9,", "8,", "7,", "6,", "5,", "4,", "3,", "2,", "1"]
    ]


async def test_of_a_check_the_latest_attempt_of_a_run_counts(store, tmp_path):
    """What failed first and was found to be well then has a count of 0."""
    mended = ("strict", "FAILED", 5), ("strict", "DONE", 0)
    earlier = await checked(store, "stations.measure", *mended)
    own = await checked(store, "stations.measure", *mended)
    none = await checked(store, "stations.measure", ("other", "FAILED", None))
    app = App(store, Registry([stations]), tmp_path)

    (strict,) = (await contexts.read(app, own)).checks
    assert (strict.count, strict.failed) == (0, False)
    assert [(old.context_id, old.count) for old in strict.earlier] == [(earlier, 0)]
    assert (await contexts.read(app, none)).checks == []
