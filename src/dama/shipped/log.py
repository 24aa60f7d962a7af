"""The service `log`: who reads all events, and what they could not handle."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field

from dama.definitions.service import Service
from dama.domain.exact import document
from dama.operations import acts, log
from dama.operations.who import because
from dama.shipped.documents import Id, permit_context, starter

if TYPE_CHECKING:
    from dama.app import App
    from dama.broker.call import Call


def log_service(app: App) -> Service:
    """Make the service `log`."""
    service = Service("log", description="Show how far subscriptions are, resume and drop them.")

    @service.action(scope="viewer", rest="GET /")
    async def status(call: Call) -> Any:
        """Show the last position, how far each subscription is behind, and what is parked."""
        return document(await log.status(app))

    @service.action(scope="viewer", rest="GET /acts")
    async def latest_acts(call: Call, limit: Annotated[int, Field(ge=1, le=1000)] = 20) -> Any:
        """Read what people did to queues, schedules, tokens and subscriptions, and why.

        Args:
            limit: How many of this year at most, the newest first.
        """
        return document(await acts.latest(app, limit))

    @service.action(scope="operator", rest="POST /:subscription/resume")
    async def resume(
        call: Call,
        subscription: str,
        context_id: Id,
        *,
        skip: bool = False,
        reason: str | None = None,
    ) -> Any:
        """Let a parked context continue: its events are handled in order, from the one that failed.

        Args:
            subscription: The name of the subscription.
            context_id: The context.
            skip: Leave out the event that could not be handled.
            reason: Why; it is kept with the name of the caller.
        """
        await permit_context(app, call, context_id)
        return document(
            await log.resume(
                app,
                subscription,
                context_id,
                skip=skip,
                by=because(starter(call), reason),
            )
        )

    @service.action(scope="operator", rest="DELETE /:subscription")
    async def drop(call: Call, subscription: str, reason: str | None = None) -> Any:
        """Forget a subscription that nobody reads any more: how far it is, and what it has parked.

        Args:
            subscription: Its name.
            reason: Why; it is kept with the name of the caller.
        """
        return document(await log.drop(app, subscription, by=because(starter(call), reason)))

    return service
