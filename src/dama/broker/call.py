"""The call: one invocation of an action, or one delivery of a broker event, as its handler sees it.

It carries params, meta, ids and level, and calls on: what is called from it belongs to the same
request, has no more time than is left, and merges its meta back.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from time import monotonic
from typing import TYPE_CHECKING, Any, Protocol, TypedDict, Unpack

from dama.broker.errors import MaxCallLevelError, RequestSkippedError
from dama.broker.mcall import Calls, call_all
from dama.config.duration import optional_duration

if TYPE_CHECKING:
    from collections.abc import AsyncIterable, Mapping, Sequence

    from dama.broker.options import BrokerOptions
    from dama.broker.stream import Stream
    from dama.config.duration import Duration
    from dama.definitions.action import ActionDefinition
    from dama.definitions.policies import RetryPolicy
    from dama.definitions.service import Service
    from dama.shapes import Json

Perform = Callable[["Call"], Awaitable[Any]]
"""Executes a call and returns its result."""


class CallOptions(TypedDict, total=False):
    """What who calls an action may ask for.

    Attributes:
        timeout: How long until the call fails: seconds, a string or a timedelta; 0 for no limit.
        retries: Further tries after one that failed in a way that may pass, or a whole policy.
        fallback: What to answer instead of an error: a value, or a function of the call and the
            error.
        meta: Joins that of the parent; what the action has put into its meta is merged into it.
        headers: For the action only, not for what it calls; protocol 5 and local calls.
        node_id: The node that is to execute it.
        request_id: Of the whole request; by default that of the parent, or the id of the call.
        stream: Chunks that are sent with the call; in protocol 4 without params.
    """

    timeout: Duration | None
    retries: int | RetryPolicy | None
    fallback: Any
    meta: dict[str, Json] | None
    headers: dict[str, Any] | None
    node_id: str | None
    request_id: str | None
    stream: AsyncIterable[Any] | None


class EmitOptions(TypedDict, total=False):
    """What who emits an event may ask for.

    Attributes:
        groups: Only handlers of these groups get it; None for all.
        meta: Joins that of the parent.
        headers: For its handlers only; protocol 5 and local delivery.
    """

    groups: Sequence[str] | None
    meta: dict[str, Json] | None
    headers: dict[str, Any] | None


class ServiceHere(Protocol):
    """A service of this node, as its calls and middleware see it.

    Attributes:
        definition: What it is.
        full_name: With the version: `v2.flights`.
        settings: All, the secure ones too.
    """

    definition: Service
    full_name: str
    settings: Mapping[str, Any]


class ActionHere(Protocol):
    """An action of this node, as middleware sees it.

    Attributes:
        name: The full name, such as `flights.count`.
        definition: What it is.
    """

    name: str
    definition: ActionDefinition[Any]


class Home(Protocol):
    """The node that a call is made on: what the call asks of it.

    Attributes:
        node_id: Its name in the cluster.
        options: How it works.
    """

    node_id: str
    options: BrokerOptions

    def next_id(self) -> str:
        """An id that no other call has."""
        ...

    async def call_from(
        self,
        parent: Call | None,
        action: str,
        params: Any,
        options: CallOptions,
    ) -> Any:
        """Call an action as a part of a call."""
        ...

    async def call_private(
        self,
        parent: Call,
        action: str,
        params: Any,
        options: CallOptions,
    ) -> Any:
        """Call an action of the service that executes a call."""
        ...

    async def emit_from(
        self,
        parent: Call | None,
        event: str,
        payload: Json,
        options: EmitOptions,
        *,
        event_type: str = "emit",
    ) -> None:
        """Emit or broadcast an event as a part of a call."""
        ...


class Call:
    """One invocation of an action, or one delivery of an event.

    Attributes:
        broker: The node that it is made on.
        id: Its own.
        name: The full name of the action, or the name of the event.
        params: What was given, as it came; the payload of an event.
        meta: Shared along the request: what an action puts in, its caller gets back.
        headers: For this call only.
        locals: A place for hooks and middleware to leave things for each other.
        service: The local service that executes it; None before it reached one.
        level: 1 for the first of a request, one more for each call within a call.
        request_id: The same for all calls of a request.
        parent_id: The id of the call that made this one; None for the first.
        caller: The service that made it; None for the first.
        node_id: The node that it came from.
        timeout: Seconds that it may take; None or 0 for no limit.
        stream: What was sent with it; None when nothing was.
        event_type: `emit` or `broadcast` for an event; None for an action.
        groups: Of an event, when it was for some groups only.
        is_remote: It came over the bus, from a node that says what it likes of itself.
        cached: The result came from a cache.
        tracing: Whether the request is traced, as who began it says; passed on as it came.
    """

    __slots__ = (
        "broker",
        "cached",
        "caller",
        "deadline",
        "event_type",
        "groups",
        "headers",
        "id",
        "is_remote",
        "level",
        "locals",
        "meta",
        "name",
        "node_id",
        "params",
        "parent_id",
        "request_id",
        "service",
        "stream",
        "timeout",
        "tracing",
    )

    def __init__(self, broker: Home, name: str, params: Any = None) -> None:
        self.broker = broker
        self.name = name
        self.params = params
        self.id = broker.next_id()
        self.request_id = self.id
        self.node_id = broker.node_id
        self.level = 1
        self.meta: dict[str, Json] = {}
        self.headers: dict[str, Any] = {}
        self.locals: dict[str, Any] = {}
        self.parent_id: str | None = None
        self.caller: str | None = None
        self.service: ServiceHere | None = None
        self.timeout: float | None = None
        self.deadline: float | None = None
        self.stream: Stream | None = None
        self.event_type: str | None = None
        self.groups: Sequence[str] | None = None
        self.cached = False
        self.is_remote = False
        self.tracing: bool | None = None

    @property
    def settings(self) -> Mapping[str, Any]:
        """The settings of the service that executes it."""
        return self.service.settings if self.service else {}

    async def call(
        self,
        action: str,
        params: Any = None,
        **options: Unpack[CallOptions],
    ) -> Any:
        """Call an action as a part of this call.

        Raises:
            RequestSkippedError: The time of this call is over.
            MaxCallLevelError: Calls within calls are too deep.
            CallError: What the action failed with.
        """
        self._check_level()
        if self.deadline is not None:
            left = self.deadline - monotonic()
            if left <= 0:
                raise RequestSkippedError(
                    f"{action} was not called: the {self.timeout:g} s of {self.name} are over.",
                    data={"action": action, "nodeID": self.broker.node_id},
                )
            own = optional_duration(options.get("timeout"), of=f"{action}: timeout")
            options["timeout"] = min(own, left) if own else left
        return await self.broker.call_from(self, action, params, options)

    async def call_local(
        self,
        action: str,
        params: Any = None,
        **options: Unpack[CallOptions],
    ) -> Any:
        """Call an action of this service by its short name, private ones too.

        Raises:
            ServiceNotFoundError: The service has no such action.
            CallError: What the action failed with.
        """
        self._check_level()
        return await self.broker.call_private(self, action, params, options)

    async def mcall(
        self,
        calls: Calls,
        *,
        settled: bool = False,
        **options: Unpack[CallOptions],
    ) -> Any:
        """Make several calls at once as parts of this call; see `Broker.mcall`."""
        return await call_all(self.call, calls, options, settled=settled)

    async def emit(self, event: str, payload: Json = None, **options: Unpack[EmitOptions]) -> None:
        """Emit an event as a part of this call: one handler of each group gets it."""
        await self.broker.emit_from(self, event, payload, options)

    async def broadcast(
        self,
        event: str,
        payload: Json = None,
        **options: Unpack[EmitOptions],
    ) -> None:
        """Broadcast an event as a part of this call: all handlers of all nodes get it."""
        await self.broker.emit_from(self, event, payload, options, event_type="broadcast")

    def child(self, name: str, params: Any, meta: Mapping[str, Json] | None) -> Call:
        """Make a call that belongs to the same request."""
        made = Call(self.broker, name, params)
        made.request_id = self.request_id
        made.parent_id = self.id
        made.level = self.level + 1
        made.tracing = self.tracing
        made.caller = self.service.full_name if self.service else None
        made.meta = {**self.meta, **meta} if meta else dict(self.meta)
        return made

    def start_clock(self) -> None:
        """Let the time of the call run from now."""
        self.deadline = monotonic() + self.timeout if self.timeout else None

    def _check_level(self) -> None:
        limit = self.broker.options.max_call_level
        if limit and self.level >= limit:
            raise MaxCallLevelError(
                f"{self.name} is at level {self.level}, and no call goes deeper than {limit}.",
                "Look for actions that call each other in a circle.",
                data={"nodeID": self.broker.node_id, "level": self.level},
            )
