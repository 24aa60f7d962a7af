"""The client: what programs start tasks by, with a loop and without, and what handles can do."""

import asyncio
import gc
import os
import sys
from contextlib import asynccontextmanager

import pytest

import dama
from dama import RunError, Service, Slice, SyncTask, Task
from dama.client.link import OtherLoopError
from dama.client.loop import ClosedClientError, ForkedClientError
from dama.definitions.connected import NotConnectedError
from dama.definitions.errors import InvalidParamsError, UnknownTaskError
from dama.definitions.registry import Registry
from dama.domain.event import Event
from dama.store import Store
from dama.store.errors import UnknownContextError
from dama.worker.worker import Worker

shop = Service("shop")
sold = Slice("test_client_sold", initial=0)


@sold.reducer
def item_sold(state: int, by: int) -> int:
    """Add."""
    return state + by


@shop.task
async def price(task: Task, item: str, *, count: int = 1) -> dict[str, int]:
    """What items cost."""
    await task.dispatch(item_sold(count))
    await task.dispatch(item_sold(10))
    await task.log(f"sold {item}")
    if item == "nothing":
        raise ValueError("nobody sells nothing")
    return {item: 3 * count}


@shop.task
def blocking_price(task: SyncTask, item: str) -> int:
    """What an item costs, from a thread."""
    return len(item)


@shop.task
async def approved(task: Task) -> object:
    """Wait for somebody."""
    return await task.wait_for("approval")


@shop.task
async def several(task: Task) -> int:
    """Two subtasks."""
    await task.map(price, [{"item": "a"}, {"item": "b"}])
    return 2


@asynccontextmanager
async def working(url):
    async with Store.opened(url) as store, Worker(store, Registry([shop])).working():
        yield


async def test_a_task_is_started_and_its_result_has_the_type_of_its_definition(database_url):
    async with dama.connect(database_url) as client, working(database_url):
        run = await client.start(price, item="tea", count=2)

        assert await run.result(timeout="30s") == {"tea": 6}
        assert await client.run(price, "milk") == {"milk": 3}
        assert await client.run(price, {"item": "figs"}) == {"figs": 3}
        assert await client.run(blocking_price, item="four") == 4


async def test_a_definition_starts_itself_by_the_connected_client(database_url):
    with pytest.raises(NotConnectedError, match="has no client"):
        await price.start(item="tea")

    async with dama.connect(database_url), working(database_url):
        run = await price.start(item="tea")
        assert await run.result() == {"tea": 3}

    with pytest.raises(NotConnectedError):
        await price.start(item="tea")


async def test_a_failure_reaches_who_waits_and_a_wait_may_end_before_the_run(database_url):
    async with dama.connect(database_url) as client, working(database_url):
        with pytest.raises(RunError, match="nobody sells nothing") as caught:
            await client.run(price, item="nothing")
        assert caught.value.data["name"] == "ValueError"

        run = await client.start(approved)
        with pytest.raises(TimeoutError, match="it continues"):
            await run.result(timeout=0.05)
        await run.signal("approval", "yes")
        assert await run.result() == "yes"


async def test_wrong_params_are_refused_before_anything_is_queued(database_url):
    async with dama.connect(database_url) as client:
        with pytest.raises(InvalidParamsError, match="item"):
            await client.start(price)  # type: ignore[call-arg]
        with pytest.raises(UnknownTaskError):
            await client.start("shop.nothing")


async def test_a_handle_reads_what_a_run_did(database_url):
    async with dama.connect(database_url) as client, working(database_url):
        run = await client.start(price, item="tea", count=2)
        followed = [event.type async for event in run.events(follow=True)]
        assert followed[0] == "shop.price:INITIAL"
        assert followed[-1] == "shop.price:FINAL"
        events = [event async for event in run.events()]
        assert [event.type for event in events] == followed

        first = next(event for event in events if event.type == "test_client_sold/item_sold")
        assert await run.state(sold) == 12
        assert await run.state(sold, at=first.event_id) == 2
        assert await run.logs() == ["sold tea"]
        report = await run.report()
        assert (report.status, report.result) == ("DONE", {"tea": 6})
        frame = await run.frame()
        assert list(frame["type"]) == followed
        assert frame.loc[0, "payload"] == {"item": "tea", "count": 2}

        parent = await client.start(several)
        assert await parent.result() == 2
        assert [row.task for row in await parent.tree()] == ["shop.several", *["shop.price"] * 2]
        below = [event async for event in parent.events(tree=True)]
        assert {event.context_id for event in below} >= {parent.context_id, parent.context_id + 1}


async def test_a_run_is_cancelled_and_resumed_with_a_reason(database_url):
    async with dama.connect(database_url) as client:
        run = await client.start(approved)
        assert await run.cancel("a mistake") == [run.context_id]
        with pytest.raises(RunError, match="was cancelled: a mistake") as caught:
            await run.result()
        assert caught.value.status == "CANCELLED"
        await run.resume("no mistake")
        async with working(database_url):
            await client.handle(run.context_id).signal("approval", 1)
            assert await client.handle(run.context_id, approved).result(timeout=30) == 1


async def test_options_of_a_start_are_those_of_the_client_that_starts(database_url):
    async with dama.connect(database_url) as client:
        once = client.options(key="k", queue="slow", priority=3)
        first, second = await once.start(approved), await once.start(approved)
        assert first.context_id == second.context_id
        other = await client.start(approved)
        assert other.context_id != first.context_id
        late = await client.options(delay="1h").start(approved)
        report = await late.report()
        assert report.run is not None
        assert report.run.state == "delayed"
        many = await client.start_many(price, [{"item": "a"}, {"item": "b"}])
        assert len({run.context_id for run in many}) == 2


async def test_code_without_a_loop_has_the_same_even_where_one_runs(database_url):
    """As in a cell of a notebook: its loop is there, and it must not be asked."""
    async with working(database_url):

        def script():
            with dama.connect(database_url) as client:
                run = client.start(price, item="tea")
                followed = [event.type for event in run.events(follow=True)]
                waiting = client.options(key="w").start(approved)
                waiting.signal("approval", 5)
                return run.result("30s"), followed[-1], run.state(sold), waiting.result()

        assert await asyncio.to_thread(script) == ({"tea": 3}, "shop.price:FINAL", 11, 5)
        # In the thread of the running loop itself: starting needs no worker.
        with dama.connect(database_url) as client:
            run = client.start(price, item="tea")
            assert client.handle(run.context_id).report().task == "shop.price"


def test_a_client_that_is_kept_is_closed_once_and_refused_after_a_fork(database_url):
    client = dama.connect(database_url).open()
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            client.handle(1).report()
        except ForkedClientError:
            client.close()
            code = 0
        finally:
            os._exit(code)
    _, status = os.waitpid(pid, 0)
    assert status == 0
    client.start(price, item="tea")
    client.close()
    client.close()


async def test_a_client_that_is_awaited_lives_until_it_is_closed(database_url):
    """As in the cells of a notebook: nothing else keeps what it has opened."""
    client = await dama.connect(database_url)
    run = await client.options(delay="1d").start(price, item="tea")
    gc.collect()
    await asyncio.sleep(0)
    assert (await run.report()).task == "shop.price"
    await client.close()
    await client.close()
    with pytest.raises(ClosedClientError):
        await run.report()
    async with await dama.connect(database_url) as client:
        assert (await client.handle(run.context_id).report()).task == "shop.price"


async def test_a_client_with_a_loop_is_refused_after_a_fork(database_url):
    async with dama.connect(database_url) as client:
        run = client.handle(1)
        pid = os.fork()
        if pid == 0:
            code = 1
            try:
                run.report().send(None)
            except ForkedClientError:
                code = 0
            finally:
                os._exit(code)
        _, status = await asyncio.to_thread(os.waitpid, pid, 0)
    assert status == 0


def test_a_closed_client_says_so_and_leaves_no_noise(database_url, capsys):
    """Events that nobody reads to their end are dropped with it."""
    client = dama.connect(database_url).open()
    run = client.options(delay="1d").start(price, item="tea")
    events = run.events()
    assert next(events).type == "shop.price:INITIAL"
    client.close()

    del events
    with pytest.raises(ClosedClientError, match="is closed"):
        run.report()
    with pytest.raises(ClosedClientError, match="is closed"):
        client.start(price, item="tea")
    assert capsys.readouterr().err == ""


async def test_a_task_is_started_by_its_name_from_the_project(database_url, tmp_path, monkeypatch):
    (tmp_path / "dama.toml").write_text(
        'services = ["client_named"]\n[programs."client_named.hello"]\ncommand = ["echo", "hi"]\n'
    )
    (tmp_path / "client_named.py").write_text(
        "from dama import Service, Task\nclient_named = Service('client_named')\n"
        "@client_named.task\nasync def twice(task: Task, n: int) -> int:\n    return 2 * n\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    async with dama.connect(database_url, project=tmp_path) as client:
        run = await client.start("client_named.twice", n=2)
        assert (await run.report()).lifecycle is not None
        program = await client.start("client_named.hello")
        assert (await program.report()).task == "client_named.hello"
        (run,) = await client.start_many("client_named.twice", [{"n": 2}])
        assert (await run.report()).task == "client_named.twice"
    sys.modules.pop("client_named")


async def test_a_client_out_of_its_place_says_so_at_once(database_url):
    """In another loop nothing would ever answer; after its end an outage would be waited for."""
    async with dama.connect(database_url) as client:
        run = await client.options(delay="1d").start(price, item="tea")
        uses = [
            lambda: client.start(price, item="tea"),
            run.report,
            run.result,
            lambda: anext(run.events()),
        ]
        starts = [*uses, lambda: price.start(item="tea")]
        refused = [await asyncio.to_thread(in_a_loop_of_its_own, use) for use in starts]
        assert [type(each) for each in refused] == [*[OtherLoopError] * 4, NotConnectedError]

    for use in uses:
        with pytest.raises(ClosedClientError):
            await use()


def in_a_loop_of_its_own(use):
    try:
        asyncio.run(call(use))
    except dama.DamaError as error:
        return error
    raise AssertionError("it was not refused")


async def call(use):
    return await use()


async def test_the_end_of_a_client_ends_the_waits_for_its_runs(database_url):
    """Whether they have a loop or are a thread of a program without one."""
    async with dama.connect(database_url) as client:
        run = await client.options(delay="1d").start(price, item="tea")
        waits = [
            asyncio.create_task(run.result()),
            asyncio.create_task(call(lambda: followed(run))),
        ]
        await run.report()  # so that they wait: both have asked before it
        await run.report()
    client = dama.connect(database_url).open()
    kept = client.handle(run.context_id)
    uses = (kept.result, lambda: [*kept.events(follow=True)])
    waits += [asyncio.create_task(asyncio.to_thread(use)) for use in uses]
    await asyncio.to_thread(kept.report)
    await asyncio.to_thread(kept.report)
    await asyncio.to_thread(client.close)

    ends = await asyncio.gather(*waits, return_exceptions=True)
    assert [type(end) for end in ends] == [ClosedClientError] * 4


async def followed(run):
    return [event async for event in run.events(follow=True)]


def test_what_is_no_database_and_no_project_is_refused_before_it_is_opened(tmp_path):
    with pytest.raises(dama.DamaError, match="expected a connection string"):
        dama.connect(5432)  # type: ignore[arg-type]
    with pytest.raises(dama.DamaError, match="not a folder"):
        dama.connect(project=tmp_path / "misspelt")


async def test_what_is_unknown_is_no_empty_history(database_url):
    async with dama.connect(database_url) as client:
        with pytest.raises(UnknownContextError):
            await anext(client.handle(10**9).events())
        run = await client.start(approved)
        with pytest.raises(dama.DamaError, match="at is 'first'"):
            await run.state(sold, at="first")  # type: ignore[arg-type]


async def test_many_wait_side_by_side_with_a_few_connections(database_url):
    async with dama.connect(database_url) as client, working(database_url):
        results = await asyncio.gather(*(client.run(price, item=str(n)) for n in range(60)))
        assert results == [{str(n): 3} for n in range(60)]


def test_a_definition_is_the_function_that_was_decorated():
    assert price.__doc__ == "What items cost."
    assert price.__name__ == "price"
    assert [*__import__("inspect").signature(price).parameters] == ["task", "item", "count"]
    assert blocking_price(None, item="four") == 4  # type: ignore[arg-type]


async def test_an_event_dict_is_as_the_events_of_a_run(database_url):
    async with dama.connect(database_url) as client:
        run = await client.start(approved)
        await run.signal("note")
        (_, note) = [event async for event in run.events()]
        assert Event(note.type) == Event("note")
        frame = dama.frame(await run.tree())
        assert list(frame["context_id"]) == [run.context_id]
