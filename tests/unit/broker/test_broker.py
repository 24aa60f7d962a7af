"""The broker on one node: services, actions and events, as in Moleculer, without a bus."""

from __future__ import annotations

import asyncio

import pytest

from dama import Service
from dama.broker.breaker import Bulkhead
from dama.broker.broker import Broker
from dama.broker.errors import (
    CallError,
    ClientCallError,
    MaxCallLevelError,
    QueueIsFullError,
    RequestSkippedError,
    RequestTimeoutError,
    RetryableCallError,
    ServiceNotAvailableError,
    ServiceNotFoundError,
    ValidationError,
)
from dama.broker.middleware import Middleware
from dama.broker.options import BrokerOptions
from dama.broker.pattern import matches
from dama.definitions.errors import DuplicateNameError, ServiceStartError
from dama.definitions.part import Part
from dama.definitions.policies import BreakerPolicy, BulkheadPolicy, CachePolicy, RetryPolicy
from dama.errors import InvalidDefinitionError


def counting(**settings):
    """A service with one action, which notes its calls and fails as often as it is told."""
    service, calls = Service("s"), []

    @service.action(**settings)
    async def do(call, fails: int = 0, n: int = 0):
        calls.append(n)
        if len(calls) <= fails:
            raise RetryableCallError("not yet")
        return len(calls)

    return service, calls


def node(*services, **options):
    middleware = options.pop("middleware", ())
    return Broker(services, node_id="n1", options=BrokerOptions(**options), middleware=middleware)


# Calls


async def test_an_action_is_called_by_name_with_validated_params():
    math = Service("math")

    @math.action
    async def add(call, a: int, b: int = 1) -> int:
        return a + b

    async with node(math) as broker:
        assert await broker.call("math.add", {"a": "3"}) == 4


async def test_params_that_do_not_fit_are_told_as_moleculer_tells_them():
    math = Service("math")

    @math.action
    async def add(call, a: int, b: int):
        raise AssertionError("it must not be called")

    async with node(math) as broker:
        with pytest.raises(ValidationError) as raised:
            await broker.call("math.add", {"a": "x", "c": 1})
    error = raised.value
    assert (error.status, error.code, error.retryable) == (422, "VALIDATION_ERROR", False)
    assert [(e["type"], e["field"], e["action"], e["nodeID"]) for e in error.data] == [
        ("number", "a", "math.add", "n1"),
        ("required", "b", "math.add", "n1"),
        ("objectStrict", "c", "math.add", "n1"),
    ]


async def test_an_action_without_params_takes_any():
    service = Service("s")

    @service.action
    async def echo(call):
        return call.params

    async with node(service) as broker:
        assert await broker.call("s.echo", [1, {"a": None}]) == [1, {"a": None}]


async def test_a_def_does_not_hold_up_the_loop():
    service = Service("s")
    entered, leave = asyncio.Event(), asyncio.Event()

    @service.action
    def wait(call):
        loop.call_soon_threadsafe(entered.set)
        return asyncio.run_coroutine_threadsafe(leave.wait(), loop).result()

    loop = asyncio.get_running_loop()
    async with node(service) as broker:
        call = asyncio.ensure_future(broker.call("s.wait"))
        await entered.wait()
        leave.set()
        assert await call is True


async def test_versions_and_slashes_are_parts_of_names():
    old, new = Service("warehouse/flights", version=1), Service("warehouse/flights", version=2)
    named = Service("flights", version="beta")
    bare = Service("bare", version=3, settings={"$noVersionPrefix": True})
    for service in (old, new, named, bare):
        service.action(name="get")(lambda call: call.service.full_name)
    async with node(old, new, named, bare) as broker:
        for name in ("v1.warehouse/flights", "v2.warehouse/flights", "beta.flights", "bare"):
            assert await broker.call(f"{name}.get") == name


async def test_two_services_of_one_name_are_refused():
    with pytest.raises(DuplicateNameError, match="already"):
        node(Service("s"), Service("s"))


async def test_a_name_that_is_not_there_is_told():
    async with node() as broker:
        with pytest.raises(ServiceNotFoundError) as raised:
            await broker.call("no.thing")
    assert (raised.value.data, raised.value.status) == ({"action": "no.thing"}, 404)


async def test_a_call_knows_where_it_comes_from():
    service, seen = Service("s"), []

    @service.action
    async def outer(call):
        seen.append(call)
        await call.call("s.inner")

    @service.action
    async def inner(call):
        seen.append(call)

    async with node(service) as broker:
        await broker.call("s.outer", request_id="r-1")
    outer_call, inner_call = seen
    assert (outer_call.level, outer_call.caller, outer_call.parent_id) == (1, None, None)
    assert (inner_call.level, inner_call.caller) == (2, "s")
    assert inner_call.parent_id == outer_call.id
    assert {outer_call.request_id, inner_call.request_id} == {"r-1"}


@pytest.mark.parametrize("fails", [False, True])
async def test_meta_goes_down_and_comes_back_whatever_becomes_of_the_call(fails):
    service = Service("s")

    @service.action
    async def outer(call):
        try:
            await call.call("s.inner", meta={"more": 1})
        except ClientCallError:
            assert fails
        return dict(call.meta)

    @service.action
    async def inner(call):
        call.meta["seen"] = sorted(call.meta)
        if fails:
            raise ClientCallError("no")

    async with node(service) as broker:
        meta = await broker.call("s.outer", meta={"user": "ada"})
    assert meta == {"user": "ada", "more": 1, "seen": ["more", "user"]}


async def test_a_call_that_takes_too_long_fails_and_its_action_is_cancelled():
    service, cancelled = Service("s"), asyncio.Event()

    @service.action(timeout=0.02)
    async def slow(call):
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()

    async with node(service) as broker:
        with pytest.raises(RequestTimeoutError) as raised:
            await broker.call("s.slow")
        assert raised.value.data == {"action": "s.slow", "nodeID": "n1"}
        assert cancelled.is_set()


async def test_a_time_out_within_an_action_is_its_own_error():
    """It must not be taken for that of the call."""
    service = Service("s")

    @service.action(timeout=30)
    async def own(call):
        raise TimeoutError("mine")

    async with node(service) as broker:
        with pytest.raises(TimeoutError, match="mine"):
            await broker.call("s.own")


async def test_calls_within_a_call_have_no_more_time_than_is_left():
    service = Service("s")

    @service.action(timeout=10)
    async def outer(call, *, late: bool = False):
        if late:
            call.deadline -= 20
        return await call.call("s.inner", timeout=3600)

    @service.action
    async def inner(call):
        return call.timeout

    async with node(service) as broker:
        assert 9 < await broker.call("s.outer") <= 10
        with pytest.raises(RequestSkippedError):
            await broker.call("s.outer", {"late": True})


async def test_calls_do_not_go_deeper_than_allowed():
    service = Service("s")

    @service.action
    async def again(call):
        return await call.call("s.again")

    async with node(service, max_call_level=5) as broker:
        with pytest.raises(MaxCallLevelError) as raised:
            await broker.call("s.again")
    assert raised.value.data == {"nodeID": "n1", "level": 5}


async def test_several_calls_are_made_at_once():
    service = Service("s")

    @service.action
    async def double(call, n: int):
        if n < 0:
            raise ClientCallError("negative")
        return n * 2

    async with node(service) as broker:
        assert await broker.mcall([("s.double", {"n": 1}), ("s.double", {"n": 2})]) == [2, 4]
        found = await broker.mcall(
            {"a": ("s.double", {"n": 1}), "b": ("s.double", {"n": -1})}, settled=True
        )
        assert found["a"] == 2
        assert isinstance(found["b"], ClientCallError)
        with pytest.raises(ClientCallError):
            await broker.mcall([("s.double", {"n": 1}), ("s.double", {"n": -1})])


# Who may call what


async def test_visibility_says_who_may_call():
    service, other = Service("s"), Service("other")

    @service.action(visibility="private")
    async def secret(call, n: int = 1):
        return n + 1

    @service.action(visibility="protected")
    async def inner(call):
        return "inner"

    @service.action
    async def outer(call):
        return await call.call_local("secret", {"n": 2})

    @other.action
    async def trial(call):
        return await call.call_local("secret")

    async with node(service, other) as broker:
        assert await broker.call("s.outer") == 3
        assert await broker.call("s.inner") == "inner"
        for name in ("s.secret", "other.trial"):
            with pytest.raises(ServiceNotFoundError):
                await broker.call(name)
        listed = {s["name"]: s for s in await broker.call("$node.services", {"withActions": True})}
        assert sorted(listed["s"]["actions"]) == ["s.inner", "s.outer"]


# Policies


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
        async with asyncio.timeout(5):
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


# Hooks, parts, middleware


async def test_hooks_go_around_an_action_from_the_outside_in_and_back():
    service, seen = Service("s"), []

    def note(word):
        return lambda *_: seen.append(word)

    service.before("*")(note("before all"))
    service.before("do-*")(note("before other"))
    service.after("*")(note("after all"))

    @service.action(before=note("before it"), after=[note("after it")])
    async def do(call):
        seen.append("it")

    async with node(service) as broker:
        await broker.call("s.do")
    assert seen == ["before all", "before it", "it", "after it", "after all"]


async def test_hooks_change_params_results_and_errors():
    service = Service("s")

    @service.before("greet")
    def trim(call):
        call.params["name"] = call.params["name"].strip()

    @service.after("greet")
    async def shout(call, result):
        return result.upper()

    @service.on_error("*")
    def rename(call, error):
        if isinstance(error, KeyError):
            raise ClientCallError("not there", code="NOT_THERE")
        return "saved"

    @service.action
    async def greet(call, name: str):
        if name == "nobody":
            raise KeyError(name)
        if name == "?":
            raise RuntimeError(name)
        return f"hello {name}"

    async with node(service) as broker:
        assert await broker.call("s.greet", {"name": " ada "}) == "HELLO ADA"
        assert await broker.call("s.greet", {"name": "?"}) == "saved"
        with pytest.raises(ClientCallError, match="not there"):
            await broker.call("s.greet", {"name": "nobody"})


async def test_services_share_parts():
    audit = Part(settings={"audit": {"table": "log", "keep": 30}}, dependencies=["base"])
    seen = []

    @audit.before()
    def note(call):
        seen.append((call.service.name, call.settings["audit"]))

    @audit.action
    async def shared(call):
        return f"shared by {call.service.name}"

    audit.started(lambda service: seen.append(("started part", service.name)))
    audit.stopped(lambda service: seen.append(("stopped part", service.name)))
    flights = Service("flights", parts=[audit], settings={"audit": {"keep": 7}})
    planes = Service("planes", parts=[audit])
    flights.started(lambda service: seen.append(("started", service.name)))
    flights.stopped(lambda service: seen.append(("stopped", service.name)))

    async with node(flights, planes, Service("base")) as broker:
        assert await broker.call("flights.shared") == "shared by flights"
        assert await broker.call("planes.shared") == "shared by planes"

    assert ("flights", {"table": "log", "keep": 7}) in seen
    assert ("planes", {"table": "log", "keep": 30}) in seen
    assert [s for s in seen if s[1] == "flights" and isinstance(s[0], str)] == [
        ("started part", "flights"),
        ("started", "flights"),
        ("stopped", "flights"),
        ("stopped part", "flights"),
    ]


async def test_a_service_starts_after_those_that_it_needs():
    base, user, order = Service("base"), Service("user", dependencies=["base"]), []
    base.started(lambda _: order.append("base"))
    user.started(lambda _: order.append("user"))
    async with node(user, base):
        assert order == ["base", "user"]


async def test_a_service_that_is_needed_and_never_comes_is_named():
    broker = node(Service("user", dependencies=["base"]), dependency_timeout=0.02)
    with pytest.raises(ServiceNotFoundError, match="base"):
        await broker.start()


async def test_what_a_service_raises_at_its_start_is_told_and_nothing_goes_on():
    bad, seen = Service("bad"), []

    @bad.started
    def fail(service):
        raise ValueError("no disk")

    waiting = Service("waiting", dependencies=["bad"])
    waiting.started(seen.append)
    broker = node(bad, waiting)
    with pytest.raises(ServiceStartError, match=r"The service bad cannot start: .*no disk"):
        await broker.start()
    assert (broker.is_started, seen) == (False, [])


async def test_what_is_waited_for_is_told_from_time_to_time(monkeypatch, caplog):
    monkeypatch.setattr("dama.broker.arrivals.TELL_SECONDS", 0.01)
    broker = node(Service("user", dependencies=["base"]), dependency_timeout=0.1)
    with pytest.raises(ServiceNotFoundError):
        await broker.start()
    assert "n1 waits for the service base" in caplog.text


async def test_middleware_wraps_what_it_wants():  # noqa: C901 - one of each wrapper
    class Notes(Middleware):
        def __init__(self, name):
            self.name = name

        def local_action(self, perform, action):
            async def noted(call):
                seen.append((self.name, "action", action.name))
                return await perform(call)

            return noted

        def call(self, perform):
            async def noted(call):
                seen.append((self.name, "call", call.name))
                return await perform(call)

            return noted

        def emit(self, perform):
            async def noted(call):
                seen.append((self.name, "emit", call.name))
                await perform(call)

            return noted

        async def service_started(self, service):
            seen.append((self.name, "started", service.full_name))

    seen: list = []
    service, _ = counting()
    async with node(service, node_service=False, middleware=[Notes("a"), Notes("b")]) as broker:
        await broker.call("s.do", timeout=5)
        await broker.emit("x")
    assert seen == [
        ("a", "started", "s"),
        ("b", "started", "s"),
        ("a", "call", "s.do"),
        ("b", "call", "s.do"),
        ("a", "action", "s.do"),
        ("b", "action", "s.do"),
        ("a", "emit", "x"),
        ("b", "emit", "x"),
    ]


# Life


async def test_running_calls_end_before_their_service_stops():
    service, order, entered = Service("s"), [], asyncio.Event()

    @service.action
    async def slow(call):
        entered.set()
        await asyncio.sleep(0.05)
        order.append("answered")

    service.stopped(lambda _: order.append("stopped"))
    async with node(service) as broker:
        call = asyncio.ensure_future(broker.call("s.slow"))
        await entered.wait()
    await call
    assert order == ["answered", "stopped"]


async def test_services_come_and_go_while_the_broker_runs():
    service, _ = counting()
    async with node() as broker:
        waiting = asyncio.ensure_future(broker.wait_for_services("s"))
        await asyncio.sleep(0)
        await broker.add(service)
        await waiting
        assert await broker.call("s.do") == 1
        await broker.remove("s")
        with pytest.raises(ServiceNotFoundError):
            await broker.call("s.do")
        with pytest.raises(ServiceNotFoundError):
            await broker.remove("s")


async def test_other_nodes_are_not_told_what_is_secure():
    service = Service(
        "s",
        settings={"url": "x", "password": "p", "open": open, "$secureSettings": ["password"]},
        metadata={"team": "data"},
    )
    async with node(service) as broker:
        (told,) = [s for s in broker.info()["services"] if s["name"] == "s"]
        assert told["settings"] == {"url": "x"}
        assert broker.services["s"].settings["password"] == "p"  # noqa: S105


# Events


def listening(name, pattern, group=None):
    service, heard = Service(name), []

    @service.on(pattern, group=group)
    async def note(call, payload):
        heard.append((call.name, payload))

    return service, heard


@pytest.mark.parametrize(
    ("name", "pattern", "fits"),
    [
        ("a.b", "a.b", True),
        ("a.b", "a.*", True),
        ("a.b.c", "a.*", False),
        ("a.b.c", "a.**", True),
        ("a.b.c", "a.*.c", True),
        ("a.bc", "a.b*", True),
        ("a.b", "a.?", True),
        ("a.bc", "a.?", False),
        ("a.b", "**", True),
        ("a", "*", True),
        ("a.b", "*", False),
        ("axb", "a.b", False),
        ("a.b", "a.b.**", False),
    ],
)
def test_patterns_of_events(name, pattern, fits):
    assert matches(name, pattern) is fits


async def test_of_each_group_one_handler_gets_an_event_that_is_emitted():
    one, heard_one = listening("one", "x.*", "group")
    two, heard_two = listening("two", "x.*", "group")
    three, heard_three = listening("three", "x.*")
    async with node(one, two, three) as broker:
        await broker.emit("x.y", 1)
        assert len(heard_one) + len(heard_two) == 1
        assert heard_three == [("x.y", 1)]
        await broker.emit("x.y", 2, groups=["three"])
        assert heard_three[1:] == [("x.y", 2)]
        assert len(heard_one) + len(heard_two) == 1


async def test_all_handlers_get_an_event_that_is_broadcast():
    one, heard_one = listening("one", "x", "group")
    two, heard_two = listening("two", "x", "group")
    async with node(one, two) as broker:
        await broker.broadcast("x", 1)
        await broker.broadcast_local("x", 2)
        await broker.broadcast("x", 3, groups=["other"])
    assert heard_one == heard_two == [("x", 1), ("x", 2)]


async def test_an_event_of_a_call_belongs_to_its_request():
    service, seen = Service("s"), []

    @service.action
    async def do(call):
        await call.emit("done", {"n": 1})

    @service.on("done")
    def note(call):
        seen.append(call)

    async with node(service) as broker:
        await broker.call("s.do", request_id="r", meta={"user": "ada"})
    (call,) = seen
    assert (call.request_id, call.meta, call.level, call.caller) == ("r", {"user": "ada"}, 2, "s")
    assert (call.event_type, call.params) == ("emit", {"n": 1})


async def test_a_handler_that_fails_is_logged_and_stops_nobody(caplog):
    service, heard = listening("s", "x")
    failing = Service("failing")

    @failing.on("x")
    def fail(call):
        raise RuntimeError("a bug")

    async with node(failing, service) as broker:
        await broker.emit("x", 1)
    assert heard == [("x", 1)]
    assert "fail of failing failed on x" in caplog.text


async def test_the_payload_of_an_event_is_validated_by_its_type(caplog):
    service, heard = Service("s"), []

    @service.on("n")
    def note(call, number: int):
        heard.append(number)

    async with node(service) as broker:
        await broker.emit("n", "5")
        await broker.emit("n", "five")
    assert heard == [5]
    assert "The payload of n does not fit" in caplog.text


async def test_the_broker_tells_of_itself_to_its_own_handlers():
    service, heard = listening("s", "$**")
    async with node(service):
        pass
    names = [name for name, _ in heard]
    assert names[0] == "$services.changed"
    assert "$broker.started" in names


# The node tells of itself


async def test_the_node_lists_what_it_has():
    service, _ = counting(timeout=3, rest="GET /do")
    service.on("x.*", group="g")(lambda call: None)
    async with node(service) as broker:
        (listed,) = await broker.call("$node.list", {"withServices": True})
        assert (listed["id"], listed["local"], listed["available"]) == ("n1", True, True)
        assert {s["name"] for s in listed["services"]} == {"$node", "s"}
        (action,) = await broker.call("$node.actions", {"skipInternal": True})
        assert (action["name"], action["hasLocal"], action["count"]) == ("s.do", True, 1)
        assert action["action"]["params"]["n"] == {
            "type": "number",
            "integer": True,
            "optional": True,
            "default": 0,
        }
        assert action["action"]["timeout"] == 3000
        assert (await broker.call("$node.events"))[0]["group"] == "g"
        assert (await broker.call("$node.health"))["client"]["type"] == "python"
        assert (await broker.call("$node.options"))["prefer_local"] is True
        metrics = {m["name"]: m for m in await broker.call("$node.metrics")}
        assert metrics["moleculer.request.total"]["values"][0]["value"] > 0


# Definitions that cannot work


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"visibility": "secret"}, "visibility 'secret'"),
        ({"timout": 5}, "Did you mean 'timeout'"),
        ({"timeout": "soon"}, "timeout"),
        ({"scope": "root"}, "scope 'root'"),
    ],
)
def test_settings_of_an_action_that_make_no_sense_are_refused(settings, told):
    with pytest.raises(InvalidDefinitionError) as raised:
        Service("s").action(name="do", **settings)(lambda call: None)
    assert told in f"{raised.value} {raised.value.hint}"


def test_names_that_can_not_be_called_are_refused():
    with pytest.raises(InvalidDefinitionError, match="cannot be the name of an action"):
        Service("s").action(name="no spaces")(lambda call: None)
    service, _ = counting()
    with pytest.raises(DuplicateNameError):
        service.action(name="do")(lambda call: None)
    with pytest.raises(InvalidDefinitionError, match="takes 2 things"):
        Service("s").on("x")(lambda call, a, b: None)


def test_an_error_keeps_what_it_is_on_its_way():
    from dama.broker.errors import decode_error, encode_error
    from dama.errors import NotFoundError

    sent = encode_error(ClientCallError("no", status=409, code="IN_USE", data=[1]), "n1")
    back = decode_error(sent, "n2")
    assert type(back) is ClientCallError
    assert (back.message, back.status, back.code, back.data, back.node_id, back.retryable) == (
        "no", 409, "IN_USE", [1], "n1", False,
    )  # fmt: skip
    sent = encode_error(NotFoundError("no context", "look again"), "n1")
    assert (sent["code"], sent["type"], sent["data"]) == (404, "NOT_FOUND", {"hint": "look again"})
    for nonsense in (None, [], "x", {"code": "y", "retryable": 3, "type": []}):
        assert isinstance(decode_error(nonsense, "n2"), CallError)
