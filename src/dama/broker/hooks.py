"""Hooks: functions of a service that are called before its actions, after them, and on errors."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

from dama.broker.pattern import matches

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from dama.broker.call import Call, Perform
    from dama.definitions.action import ActionDefinition
    from dama.definitions.service import Service


def with_hooks(perform: Perform, definition: ActionDefinition[Any], service: Service) -> Perform:
    """An action with its own hooks and those that its service has for actions of its name."""
    name, options, hooks = definition.name, definition.options, service.hooks
    before = [*(h.function for h in hooks("before") if matches(name, h.pattern)), *options.before]
    after = [*options.after, *(h.function for h in hooks("after") if matches(name, h.pattern))]
    failed = [
        *options.on_error,
        *(h.function for h in hooks("on_error") if matches(name, h.pattern)),
    ]
    if not before and not after and not failed:
        return perform

    async def hooked(call: Call) -> Any:
        try:
            await call_all(before, call)
            result = await perform(call)
            for hook in after:
                changed = await called(hook, call, result)
                result = result if changed is None else changed
        except Exception as error:  # noqa: BLE001 - what to do with it is said by the hooks
            return await _failed(failed, call, error)
        return result

    return hooked


async def call_all(functions: Sequence[Callable[..., Any]], *arguments: object) -> None:
    """Call functions one after the other, each of which may be asynchronous."""
    for function in functions:
        await called(function, *arguments)


async def called(function: Callable[..., Any], *arguments: object) -> Any:
    """Call a function that may be asynchronous."""
    found = function(*arguments)
    return await found if inspect.isawaitable(found) else found


async def _failed(hooks: Sequence[Callable[..., Any]], call: Call, error: Exception) -> Any:
    """Let the hooks of errors decide: the first that returns a value makes it the result."""
    for hook in hooks:
        try:
            found = await called(hook, call, error)
        except Exception as another:  # noqa: BLE001 - it takes the place of the first
            error = another
        else:
            if found is not None:
                return found
    raise error
