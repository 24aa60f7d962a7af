"""A history for Redux DevTools: each event is an action, with the state that it led to.

The file is what its monitors import and export: a lifted state. All states are in it, since the
reducers are in Python.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dama.domain.event import event_dict
from dama.domain.exact import document
from dama.domain.own_code import named

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from dama.domain.event import StoredEvent
    from dama.domain.slice import Slice


def lifted_state(events: Iterable[StoredEvent], slices: Sequence[Slice[Any]]) -> dict[str, Any]:
    """The lifted state of a context.

    Args:
        events: Of the context, from its first.
        slices: Whose states are told, each under its name.

    Raises:
        ReducerError: One of them cannot be folded.
    """
    states: dict[str, Any] = {each.name: each.initial for each in slices}
    encoded = {each.name: _encoded(each, each.initial) for each in slices}
    actions: dict[str, Any] = {"0": _action({"type": "@@INIT"}, 0)}
    computed: list[dict[str, Any]] = [{"state": dict(encoded)}]
    for number, event in enumerate(events, 1):
        for each in slices:
            with named(each):
                after = each.fold([event], states[each.name])
            if after is not states[each.name]:
                states[each.name] = after
                encoded[each.name] = _encoded(each, after)
        action = {**document(event_dict(event)), "event_id": event.event_id}
        actions[str(number)] = _action(action, int(event.created_at.timestamp() * 1000))
        computed.append({"state": dict(encoded)})
    return {
        "monitorState": {},
        "actionsById": actions,
        "nextActionId": len(computed),
        "stagedActionIds": [*range(len(computed))],
        "skippedActionIds": [],
        "committedState": computed[0]["state"],
        "currentStateIndex": len(computed) - 1,
        "computedStates": computed,
        "isLocked": False,
        "isPaused": False,
    }


def _encoded(slice_: Slice[Any], state: Any) -> Any:
    with named(slice_):
        return document(slice_.encode_state(state))


def _action(action: dict[str, Any], timestamp: int) -> dict[str, Any]:
    return {"type": "PERFORM_ACTION", "action": action, "timestamp": timestamp}
