"""The services `schedules`, `queues` and `workers`: what is started by the clock, and who works."""

from __future__ import annotations

from datetime import datetime  # noqa: TC003 - the params of an action are read from it
from typing import TYPE_CHECKING, Any

from dama.definitions.service import Service
from dama.domain.exact import document
from dama.domain.schedule import CatchUp, Overlap, Schedule
from dama.operations import activity as noted
from dama.operations import queues
from dama.operations import schedules as verbs
from dama.operations.who import because
from dama.shipped.documents import starter

if TYPE_CHECKING:
    from dama.app import App
    from dama.broker.call import Call


def schedules_service(app: App) -> Service:
    """Make the service `schedules`."""
    service = Service("schedules", description="Start tasks by the clock.")

    @service.action(scope="viewer", rest="GET /")
    async def list(call: Call) -> Any:
        """List the schedules."""
        return document(await verbs.all_of(app))

    @service.action(scope="viewer", rest="GET /:name")
    async def get(call: Call, name: str) -> Any:
        """Read one schedule, with its next firings."""
        return document(await verbs.read(app, name))

    @service.action(scope="operator", rest="POST /")
    async def add(
        call: Call,
        *,
        name: str,
        task: str,
        cron: str,
        zone: str = "UTC",
        params: dict[str, Any] | None = None,
        catch_up: CatchUp = "one",
        overlap: Overlap = "skip",
        jitter: float = 0.0,
        reason: str | None = None,
    ) -> Any:
        """Start a task by a schedule from now on; returns the first firing.

        Args:
            name: Of the schedule.
            task: The full name of the task.
            cron: Five fields: minute, hour, day of month, month, day of week.
            zone: Whose clock it follows, such as Europe/Berlin.
            params: What the task takes.
            catch_up: How missed firings are handled: none, one or all of them run.
            overlap: How a firing is handled while an earlier run is open: allow, skip or queue.
            jitter: Seconds over which firings are spread.
            reason: Why; it is kept with the name of the caller.
        """
        schedule = Schedule(name, task, cron, zone, params or {}, catch_up, overlap, jitter)
        return {"next_at": document(await verbs.add(app, schedule, because(starter(call), reason)))}

    @service.action(scope="operator", rest="POST /:name/pause")
    async def pause(call: Call, name: str, reason: str | None = None) -> None:
        """Start nothing by a schedule until it is resumed."""
        await verbs.pause(app, name, because(starter(call), reason))

    @service.action(scope="operator", rest="POST /:name/resume")
    async def resume(call: Call, name: str, reason: str | None = None) -> Any:
        """Let a paused schedule continue from now; returns the next firing."""
        return {"next_at": document(await verbs.resume(app, name, because(starter(call), reason)))}

    @service.action(scope="operator", timeout=0, rest="POST /:name/backfill")
    async def backfill(
        call: Call,
        name: str,
        begin: datetime,
        end: datetime,
        *,
        dry_run: bool = False,
        reason: str | None = None,
    ) -> Any:
        """Start the firings of a range that have no run yet. It can be repeated.

        Args:
            name: Of the schedule.
            begin: The first moment, by the zone of the schedule.
            end: The first moment beyond the range.
            dry_run: Only list the firings; start none.
            reason: Why; it is kept with the name of the caller.
        """
        by = because(starter(call), reason)
        return document(await verbs.backfill(app, name, begin, end, dry_run=dry_run, by=by))

    @service.action(scope="operator", rest="DELETE /:name")
    async def remove(call: Call, name: str, reason: str | None = None) -> None:
        """Remove a schedule."""
        await verbs.remove(app, name, because(starter(call), reason))

    return service


def queues_service(app: App) -> Service:
    """Make the service `queues`."""
    service = Service("queues", description="Pause, resume and limit queues.")

    @service.action(scope="viewer", rest="GET /")
    async def list(call: Call) -> Any:
        """List the queues, with how much waits in them and since when."""
        return document(await queues.all_of(app))

    @service.action(scope="viewer", rest="GET /history")
    async def history(call: Call, hours: int = noted.HOURS) -> Any:
        """Read the most that was in each queue, in 120 pieces at most.

        Args:
            hours: The latest so many, at most 168. A gateway looks every ten seconds.
        """
        return document(await noted.queues(app, hours))

    @service.action(scope="operator", rest="POST /:queue/pause")
    async def pause(call: Call, queue: str, reason: str | None = None) -> None:
        """Start nothing of a queue until it is resumed."""
        await queues.pause(app, queue, because(starter(call), reason))

    @service.action(scope="operator", rest="POST /:queue/resume")
    async def resume(call: Call, queue: str, reason: str | None = None) -> None:
        """Let a paused queue continue."""
        await queues.resume(app, queue, because(starter(call), reason))

    @service.action(scope="operator", rest="POST /:queue/limit")
    async def limit(
        call: Call,
        queue: str,
        concurrency: int | None = None,
        rate: float | None = None,
        reason: str | None = None,
    ) -> None:
        """Limit how much of a queue runs, on all workers together.

        Args:
            queue: Its name.
            concurrency: Runs at once; 0 for no limit.
            rate: Starts a second; 0 for no limit.
            reason: Why; it is kept with the name of the caller.
        """
        by = because(starter(call), reason)
        await queues.limit(app, queue, concurrency=concurrency, rate=rate, by=by)

    return service


def workers_service(app: App) -> Service:
    """Make the service `workers`."""
    service = Service("workers", description="Who executes what is queued.")

    @service.action(scope="viewer", rest="GET /")
    async def list(call: Call) -> Any:
        """List the workers and how busy they are."""
        return document(await queues.workers(app))

    @service.action(scope="viewer", rest="GET /activity")
    async def activity(call: Call, hours: int = noted.HOURS) -> Any:
        """Read what was started and ended, and how long it took, in 120 pieces at most.

        Args:
            hours: The latest so many, at most 168. A gateway notes it every ten seconds.
        """
        return document(await noted.read(app, hours))

    return service
