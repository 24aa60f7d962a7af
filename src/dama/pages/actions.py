"""Services and their actions: which nodes offer what, and a form to call each."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from dama.broker.errors import CallError
from dama.broker.stream import is_chunks
from dama.definitions.errors import InvalidParamsError
from dama.domain.exact import document
from dama.gateway.errors import RequestError
from dama.gateway.openapi import params_schema
from dama.operations import acts
from dama.pages.fields import fields, json_of, params_of
from dama.pages.shown import shown_size
from dama.shapes import is_dict

if TYPE_CHECKING:
    from collections.abc import Mapping

    from starlette.responses import Response

    from dama.broker.catalog import Endpoint
    from dama.pages.visit import Visit

PATIENCE_SECONDS = 30.0
UNPROCESSABLE = 422


async def show_all(visit: Visit) -> Response:
    """What the nodes of the cluster offer, as this one knows them."""
    visit.demand("viewer", "$node")
    nodes = document(await visit.broker.call("$node.list", {}))
    known = document(await visit.broker.call("$node.actions", {"withEndpoints": True}))
    return visit.page(
        "services.html", nodes=nodes, actions=_by_service(known), offered=visit.calls.offered()
    )


async def show(visit: Visit) -> Response:
    """An action and the form to call it."""
    return await _shown(visit)


async def call(visit: Visit) -> Response:
    """Call it with what was filled in; what changes something asks why, as every act."""
    name, endpoint = _found(visit)
    try:
        params = _params(visit, endpoint)
        if not _only_reads(endpoint):
            visit.demand(_scope(endpoint), name.rpartition(".")[0])
            await acts.keep(visit.app, "action/called", {"action": name}, visit.by())
        async with asyncio.timeout(PATIENCE_SECONDS):
            result = await visit.calls.perform(visit.request, visit.identity, name, params)
    except TimeoutError:
        message = f"No answer within {PATIENCE_SECONDS:g} s; it may still be running there."
        return await _shown(visit, message=message, status=504)
    except InvalidParamsError as error:
        problems = {each.name: each.text for each in error.problems}
        return await _shown(visit, problems=problems, message=error.message, status=UNPROCESSABLE)
    except CallError as error:
        if not error.is_foreseen:  # its text may hold anything
            raise
        return await _shown(visit, message=f"{error.name}: {error.message}", status=error.status)
    return await _shown(visit, result=_readable(result), is_done=True)


async def _shown(
    visit: Visit,
    *,
    problems: Mapping[str, str] | None = None,
    message: str = "",
    result: Any = None,
    is_done: bool = False,
    status: int = 200,
) -> Response:
    name, endpoint = _found(visit)
    visit.demand("viewer", name.rpartition(".")[0])
    schema = params_schema(endpoint)
    known = document(await visit.broker.call("$node.actions", {"withEndpoints": True}))
    return visit.page(
        "action.html",
        status=status,
        name=name,
        described=endpoint.description,
        scope=_scope(endpoint),
        may_call=visit.identity.may(_scope(endpoint)),
        only_reads=_only_reads(endpoint),
        fields=fields(schema, visit.form, problems or {}),
        takes_any=not schema.get("properties") and "properties" not in schema,
        endpoints=[n for each in known if each["name"] == name for n in each.get("endpoints", ())],
        form=visit.form,
        message=message,
        result=result,
        is_done=is_done,
    )


def _found(visit: Visit) -> tuple[str, Endpoint]:
    name = visit.parts["action"]
    endpoint = visit.calls.offered().get(name)
    if endpoint is None:
        hint = visit.calls.why_absent(name, visit.identity) or "Services lists them."
        raise RequestError("NOT_FOUND", f"There is no action {name[:200]!r} to call.", hint)
    return name, endpoint


def _scope(endpoint: Endpoint) -> str:
    return endpoint.description.get("scope") or "operator"


def _only_reads(endpoint: Endpoint) -> bool:
    return _scope(endpoint) == "viewer"


def _params(visit: Visit, endpoint: Endpoint) -> dict[str, Any]:
    """What was filled in; for an action that takes anything, a JSON object."""
    schema = params_schema(endpoint)
    if "properties" in schema:
        return params_of(schema, visit.form)
    text = visit.form.get("params", "").strip()
    found: object = json_of(text or "{}", "The params are")
    if not is_dict(found):
        raise RequestError("BAD_REQUEST", "The params are not a JSON object.", 'Such as {"id": 1}.')
    return found


def _readable(result: Any) -> Any:
    """A result as the page shows it: of bytes and streams only what they are."""
    if isinstance(result, bytes | bytearray):
        return f"{shown_size(len(result))} of bytes: call it over HTTP to keep them."
    if is_chunks(result):
        return "A stream: call it over HTTP to read it."
    return result


def _by_service(known: Any) -> dict[str, list[Any]]:
    found: dict[str, list[Any]] = {}
    for action in sorted(known, key=lambda each: each["name"]):
        found.setdefault(action["name"].rpartition(".")[0], []).append(action)
    return found
