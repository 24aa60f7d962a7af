"""Policies: tries, fallbacks, breakers, bulkheads and results that are kept."""

from __future__ import annotations

import asyncio

import pytest

from dama import Service
from dama.broker.breaker import Bulkhead
from dama.broker.errors import (
    ClientCallError,
    QueueIsFullError,
    RetryableCallError,
    ServiceNotAvailableError,
    ValidationError,
)
from dama.definitions.policies import BreakerPolicy, BulkheadPolicy, CachePolicy, RetryPolicy

from .nodes import counting, node


async def test_a_call_that_may_succeed_later_is_tried_again():
    service, calls = counting(retries=RetryPolicy(retries=2, delay=0.001))
    async with node(service) as broker:
        assert await broker.call("s.do", {"fails": 2}) == 3
        calls.clear()
        with pytest.raises(RetryableCallError):
            await broker.call("s.do", {"fails": 3})
        assert len(calls) == 3


async def test_each_try_gets_the_params_as_they_were_given():
    service, seen = Service("s"), []

    @service.before("do")
    def spoil(call):
        seen.append(call.params["days"])
        call.params["days"] = "spoilt"

    @service.action
    async def do(call, days: list[int]):
        raise RetryableCallError("not yet")

    async with node(service) as broker:
        retries = RetryPolicy(retries=1, delay=0.001)
        with pytest.raises(RetryableCallError):
            await broker.call("s.do", {"days": ["1"]}, retries=retries)
    assert seen == [[1], [1]]


async def test_an_error_of_the_caller_is_not_tried_again():
    service, calls = Service("s"), []

    @service.action(retries=5)
    async def do(call):
        calls.append(1)
        raise ClientCallError("no")

    async with node(service) as broker:
        with pytest.raises(ClientCallError):
            await broker.call("s.do")
    assert calls == [1]


async def test_waits_between_tries_grow_up_to_a_limit():
    policy = RetryPolicy(delay=0.1, factor=2, max_delay=0.5)
    assert [round(policy.wait(n), 3) for n in (1, 2, 3, 4)] == [0.1, 0.2, 0.4, 0.5]


async def test_a_fallback_answers_instead_of_an_error():
    service, _ = counting(fallback=lambda call, error: f"{call.name}: {error}")
    async with node(service) as broker:
        assert await broker.call("s.do", {"fails": 9}) == "s.do: not yet"
        assert await broker.call("s.do", {"fails": 9}, fallback=None) is None
        assert await broker.call("no.thing", fallback=[]) == []


async def test_an_endpoint_that_fails_gets_no_calls_until_it_is_tried_again():
    policy = BreakerPolicy(threshold=0.5, min_requests=4, half_open_after=0.05)
    service, calls = counting(breaker=policy)
    async with node(service) as broker:
        for _ in range(4):
            with pytest.raises(RetryableCallError):
                await broker.call("s.do", {"fails": 4})
        with pytest.raises(ServiceNotAvailableError):
            await broker.call("s.do")
        assert len(calls) == 4
        await asyncio.sleep(0.06)
        assert await broker.call("s.do") == 5
        assert await broker.call("s.do") == 6


async def test_errors_of_callers_open_no_breaker():
    service = Service("s")

    @service.action(breaker=BreakerPolicy(min_requests=1))
    async def do(call, n: int):
        return n

    async with node(service) as broker:
        for _ in range(3):
            with pytest.raises(ValidationError):
                await broker.call("s.do", {"n": "x"})
        assert await broker.call("s.do", {"n": 1}) == 1


async def test_a_bulkhead_lets_some_run_some_wait_and_refuses_the_rest():
    service, running, most, leave = Service("s"), 0, 0, asyncio.Event()

    @service.action(bulkhead=BulkheadPolicy(concurrency=2, max_queue=3))
    async def do(call):
        nonlocal running, most
        running += 1
        most = max(most, running)
        await leave.wait()
        running -= 1
        return True

    async with node(service) as broker:
        calls = [asyncio.ensure_future(broker.call("s.do")) for _ in range(5)]
        await asyncio.sleep(0)
        with pytest.raises(QueueIsFullError) as raised:
            await broker.call("s.do")
        calls[3].cancel()
        leave.set()
        results = await asyncio.gather(*calls, return_exceptions=True)
    assert raised.value.data == {"action": "s.do", "nodeID": "n1", "size": 3, "limit": 3}
    assert [r for r in results if r is True] == [True] * 4
    assert most == 2


async def test_a_place_is_not_lost_when_who_gets_it_has_just_gone():
    bulkhead = Bulkhead(BulkheadPolicy(concurrency=1, max_queue=1), "n1")
    gate = asyncio.Event()

    async def perform(call):
        await gate.wait()
        return "performed"

    async with node() as broker:
        call = broker.new_call(None, "s.do", None, {})
        first = asyncio.ensure_future(bulkhead.perform(call, perform))
        await asyncio.sleep(0)
        gone = asyncio.ensure_future(bulkhead.perform(call, perform))
        await asyncio.sleep(0)
        first.cancel()
        await asyncio.sleep(0)
        gone.cancel()  # it has the place by now, and does not know yet
        await asyncio.gather(first, gone, return_exceptions=True)
        gate.set()
        async with asyncio.timeout(30):
            assert await bulkhead.perform(call, perform) == "performed"


async def test_a_result_is_kept_by_the_params_that_count():
    service, calls = counting(cache=CachePolicy(keys=("n", "#user")))
    async with node(service) as broker:
        for n, user in ((1, "a"), (1, "a"), (2, "a"), (1, "b"), (1, "a")):
            await broker.call("s.do", {"n": n}, meta={"user": user})
        assert calls == [1, 2, 1]
        await broker.call("s.do", {"n": 1}, meta={"user": "a", "$cache": False})
        assert len(calls) == 4
        assert broker.cache.clean("s.*") == 3
        await broker.call("s.do", {"n": 1}, meta={"user": "a"})
        assert len(calls) == 5


async def test_a_kept_result_is_not_changed_by_who_got_it():
    service = Service("s")

    @service.action(cache=True)
    async def rows(call):
        return [{"n": 1}]

    async with node(service) as broker:
        (await broker.call("s.rows"))[0]["n"] = 99
        assert await broker.call("s.rows") == [{"n": 1}]
