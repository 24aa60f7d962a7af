"""Parts: actions, event handlers, hooks and settings that several services share.

A service takes parts, it does not inherit: `Service("flights", parts=[audited, cached])`. What the
service defines itself wins over its parts, and a later part over an earlier one.
"""

from __future__ import annotations

import re
from typing import (
    TYPE_CHECKING,
    Any,
    Concatenate,
    Literal,
    NamedTuple,
    Protocol,
    TypedDict,
    TypeVar,
    Unpack,
    overload,
)

from dama.definitions.action import ActionDefinition, ActionSettings, EventHandler, read_action
from dama.definitions.errors import DuplicateNameError
from dama.definitions.written import Written, chosen_name
from dama.errors import InvalidDefinitionError
from dama.shapes import Json, is_collection, is_name, is_object

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence

R = TypeVar("R")
F = TypeVar("F", bound="Callable[..., Any]")

Moment = Literal["before", "after", "on_error"]
LifeMoment = Literal["created", "started", "stopped"]

# As Moleculer's own names: `listContexts` is as good as `list_contexts`.
_ACTION_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]*(\.[A-Za-z][A-Za-z0-9_-]*)*")


class Hook(NamedTuple):
    """A function that is called around actions.

    Attributes:
        moment: Before the action, after it, or when it failed.
        pattern: The actions: `*` for all, `create-*` for some.
        function: Takes the call, and then the result or the error.
    """

    moment: Moment
    pattern: str
    function: Callable[..., Any]


class ActionDecorator(Protocol):
    """What `@service.action(...)` gives: it makes a definition of a function."""

    @overload
    def __call__(
        self, function: Callable[Concatenate[Any, ...], Awaitable[R]], /
    ) -> ActionDefinition[R]: ...

    @overload
    def __call__(
        self, function: Callable[Concatenate[Any, ...], AsyncIterator[R]], /
    ) -> ActionDefinition[R]: ...

    @overload
    def __call__(self, function: Callable[Concatenate[Any, ...], R], /) -> ActionDefinition[R]: ...


class PartSettings(TypedDict, total=False):
    """What a part and a service have in common.

    Attributes:
        settings: Any values; those named in `$secureSettings` are not told to other nodes.
        metadata: Json JSON, which other nodes see.
        dependencies: Services that must be there before one that takes this is started.
        parts: What it takes.
    """

    settings: Mapping[str, Any]
    metadata: Mapping[str, Json]
    dependencies: Sequence[str]
    parts: Sequence[Part]


class Part:
    """Actions, event handlers, hooks and settings, for services to take.

    Args:
        **shared: See `PartSettings`.
    """

    def __init__(self, **shared: Unpack[PartSettings]) -> None:
        written = Written(type(self).__name__, shared, PartSettings.__annotations__)
        self._settings = dict(written.mapping("settings"))
        self._metadata = dict(written.mapping("metadata"))
        self._dependencies = written.strings("dependencies")
        self._parts = _parts(written)
        self._actions: dict[str, ActionDefinition[Any]] = {}
        self._handlers: list[EventHandler] = []
        self._hooks: list[Hook] = []
        self._moments: dict[LifeMoment, list[Callable[..., Any]]] = {
            "created": [],
            "started": [],
            "stopped": [],
        }

    @property
    def settings(self) -> dict[str, Any]:
        """The settings, those of the parts below the own."""
        return _merged([*(part.settings for part in self._parts), self._settings])

    @property
    def metadata(self) -> dict[str, Any]:
        """The metadata, those of the parts below the own."""
        return _merged([*(part.metadata for part in self._parts), self._metadata])

    @property
    def dependencies(self) -> tuple[str, ...]:
        """The services that must be there first."""
        named = [name for part in self._parts for name in part.dependencies]
        return tuple(dict.fromkeys([*named, *self._dependencies]))

    @property
    def actions(self) -> Mapping[str, ActionDefinition[Any]]:
        """The actions by their names within the service."""
        found: dict[str, ActionDefinition[Any]] = {}
        for part in self._parts:
            found |= part.actions
        return found | self._actions

    @property
    def handlers(self) -> Sequence[EventHandler]:
        """The handlers of events."""
        return [*(h for part in self._parts for h in part.handlers), *self._handlers]

    def hooks(self, moment: Moment) -> Sequence[Hook]:
        """The hooks of a moment, in their order: `before` from the parts inwards, others back."""
        own = [hook for hook in self._hooks if hook.moment == moment]
        below = [hook for part in self._parts for hook in part.hooks(moment)]
        return [*below, *own] if moment == "before" else [*own, *below]

    def moments(self, moment: LifeMoment) -> Sequence[Callable[..., Any]]:
        """What is called in a moment of its life, in order: parts stop after who took them."""
        below = [function for part in self._parts for function in part.moments(moment)]
        own = self._moments[moment]
        return [*own, *below] if moment == "stopped" else [*below, *own]

    @overload
    def action(
        self, function: Callable[Concatenate[Any, ...], Awaitable[R]], /
    ) -> ActionDefinition[R]: ...

    @overload
    def action(
        self, function: Callable[Concatenate[Any, ...], AsyncIterator[R]], /
    ) -> ActionDefinition[R]: ...

    @overload
    def action(self, function: Callable[Concatenate[Any, ...], R], /) -> ActionDefinition[R]: ...

    @overload
    def action(
        self, /, *, name: str | None = None, **settings: Unpack[ActionSettings]
    ) -> ActionDecorator: ...

    def action(
        self,
        function: Callable[..., object] | None = None,
        /,
        *,
        name: str | None = None,
        **settings: Unpack[ActionSettings],
    ) -> object:
        """Make an action of a function, as `@service.action` or `@service.action(timeout=5)`.

        The function's first parameter is the call; the others are its params.

        Args:
            function: An `async def`, a `def`, which runs in a thread, or an asynchronous generator,
                whose chunks are streamed.
            name: Within the service; by default the name of the function.
            **settings: See `ActionOptions`; durations as seconds, as text or as a timedelta.

        Raises:
            InvalidDefinitionError: The name, the signature or a setting cannot be used.
            DuplicateNameError: There is an action of this name.
        """

        def define(function: Callable[..., object]) -> ActionDefinition[Any]:
            own = getattr(function, "__name__", "")
            chosen = chosen_name(f"The action {own}", name, own)
            return self._keep_action(chosen, function, settings)

        return define if function is None else define(function)

    def on(self, pattern: str, *, group: str | None = None) -> Callable[[F], F]:
        """Handle events, as `@service.on("order.*")`.

        Args:
            pattern: Their names: `*` is one level, `**` any number, `?` one character.
            group: Of all handlers of a group one gets an event that is emitted; by default the name
                of the service.
        """
        if not is_name(pattern) or any(c.isspace() for c in pattern):
            raise InvalidDefinitionError(
                f"{pattern!r} cannot be the name of an event.",
                'Write one, as in @service.on("order.paid").',
            )

        def define(function: F) -> F:
            self._handlers.append(EventHandler(pattern, group, function))
            return function

        return define

    def before(self, pattern: str = "*") -> Callable[[F], F]:
        """Call a function with the call, before each action that fits."""
        return self._hook("before", pattern)

    def after(self, pattern: str = "*") -> Callable[[F], F]:
        """Call a function with the call and the result; what it returns is the result then."""
        return self._hook("after", pattern)

    def on_error(self, pattern: str = "*") -> Callable[[F], F]:
        """Call a function with the call and the error: it raises, or returns a result."""
        return self._hook("on_error", pattern)

    def created(self, function: F) -> F:
        """Call a function with the service when a broker takes it."""
        self._moments["created"].append(function)
        return function

    def started(self, function: F) -> F:
        """Call a function with the service when it starts, after its dependencies are there."""
        self._moments["started"].append(function)
        return function

    def stopped(self, function: F) -> F:
        """Call a function with the service when it stops."""
        self._moments["stopped"].append(function)
        return function

    def _hook(self, moment: Moment, pattern: str) -> Callable[[F], F]:
        if not is_name(pattern):
            raise InvalidDefinitionError(
                f"{pattern!r} names no actions.",
                f'Write @service.{moment}() for all of them, or @service.{moment}("create-*").',
            )

        def define(function: F) -> F:
            self._hooks.append(Hook(moment, pattern, function))
            return function

        return define

    def _keep_action(
        self, name: str, function: Callable[..., object], settings: ActionSettings
    ) -> ActionDefinition[Any]:
        if not _ACTION_NAME.fullmatch(name):
            raise InvalidDefinitionError(
                f"{name!r} cannot be the name of an action.",
                "Names are letters, digits, - and _, and begin with a letter. "
                "Give another with @service.action(name=...).",
            )
        if name in self._actions:
            raise DuplicateNameError(
                f"The action {name} is defined twice.",
                "Give one of them another name with @service.action(name=...).",
            )
        self._actions[name] = ActionDefinition(name, function, read_action(name, settings))
        return self._actions[name]


def _parts(written: Written) -> tuple[Part, ...]:
    parts = written.get("parts", ())
    if not is_collection(parts) or not all(isinstance(part, Part) for part in parts):
        written.wrong("parts", "a list of parts, as in [audited, cached]")
    return tuple(parts)


def _merged(layers: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Lay mappings over each other, mappings within them as well."""
    merged: dict[str, Any] = {}
    for layer in layers:
        for key, value in layer.items():
            below = merged.get(key)
            if is_object(value) and is_object(below):
                merged[key] = _merged([below, value])
            else:
                merged[key] = value
    return merged
