"""Tasks: what there is, and a form to start each, made from its signature and its docstring."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Any

from dama.definitions.errors import InvalidParamsError
from dama.gateway.errors import RequestError
from dama.operations import contexts, tasks
from dama.pages.contexts import service_of
from dama.pages.elsewhere import of_list
from dama.pages.fields import Field, fields, params_of
from dama.pages.visit import see
from dama.store.windows import ContextFilter

if TYPE_CHECKING:
    from collections.abc import Mapping

    from starlette.responses import Response

    from dama.definitions.task import TaskDefinition
    from dama.pages.visit import Visit

LATEST = 10
LONGEST_KEY = 100
UNPROCESSABLE = 422


async def show_all(visit: Visit) -> Response:
    """All tasks that this process knows and the token is for."""
    permitted = visit.identity.services
    visit.demand("viewer", service_of(visit) or "")
    known = [
        task
        for _, task in sorted(visit.app.registry.tasks.items())
        if permitted is None or task.service in permitted
    ]
    return visit.page("tasks.html", tasks=known)


async def show(
    visit: Visit, *, problems: Mapping[str, str] | None = None, message: str = "", status: int = 200
) -> Response:
    """The form of a task."""
    visit.demand_task("viewer", visit.parts["task"])
    task = visit.app.registry.task(visit.parts["task"])
    chosen = ContextFilter(task=task.name)
    latest = await contexts.all_of(visit.app, chosen, limit=LATEST)
    return visit.page(
        "task.html",
        status=status,
        task=task,
        fields=_fields(task, visit, problems or {}),
        latest=latest,
        elsewhere=of_list(chosen, LATEST),
        key=visit.form.get("key") or secrets.token_hex(16),
        message=message,
        form=visit.form,
    )


async def begin(visit: Visit) -> Response:
    """Start it with what was filled in; sent twice, the same form starts one context."""
    visit.demand_task("operator", visit.parts["task"])
    task = visit.app.registry.task(visit.parts["task"])
    by = visit.by()
    key = visit.form.get("key", "")
    if not key or len(key) > LONGEST_KEY:
        raise RequestError("BAD_REQUEST", "The form has no key.", "Load the page again.")
    try:
        params = params_of(task.params_schema(), visit.form)
        context_id = await tasks.start(
            visit.app, task, params, key=f"page:{key}", by=by, **_options(visit)
        )
    except RequestError as error:
        return await show(visit, message=error.message, status=UNPROCESSABLE)
    except InvalidParamsError as error:
        problems = {each.name: each.text for each in error.problems}
        return await show(visit, problems=problems, message=error.message, status=UNPROCESSABLE)
    return see(f"/contexts/{context_id}")


def _fields(task: TaskDefinition[Any], visit: Visit, problems: Mapping[str, str]) -> list[Field]:
    given = visit.form or {f"param.{name}": value for name, value in visit.query.items()}
    return fields(task.params_schema(), given, problems)


def _options(visit: Visit) -> dict[str, Any]:
    """Another queue, a priority, a delay, where they were filled in.

    Raises:
        RequestError: The priority is not a number.
    """
    found: dict[str, Any] = {}
    if queue := visit.form.get("queue", "").strip():
        found["queue"] = queue
    if delay := visit.form.get("delay", "").strip():
        found["delay"] = delay
    if priority := visit.form.get("priority", "").strip():
        try:
            found["priority"] = int(priority)
        except ValueError as error:
            raise RequestError(
                "BAD_REQUEST", f"The priority is {priority[:40]!r}, not a number."
            ) from error
    return found
