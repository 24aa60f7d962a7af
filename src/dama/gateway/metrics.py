"""Metrics: what Prometheus reads. Of the database as it is now, and of this copy since it began."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from dama.duty import troubles

if TYPE_CHECKING:
    from dama.app import App
    from dama.broker.broker import Broker

BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
STATES = ("queued", "delayed", "blocked", "placed", "running", "waiting")

RUNS = "Runs by queue and state; 10000 stands for so many or more."


class Metrics:
    """The metrics of one copy of the gateway."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self.requests = Histogram(
            "dama_http_request_seconds",
            "Requests by action and status.",
            ["action", "status"],
            buckets=BUCKETS,
            registry=self._registry,
        )
        self.refused = Counter(
            "dama_http_refused", "Requests that were refused, by reason.", ["type"],
            registry=self._registry,
        )  # fmt: skip
        self._runs = self._gauge("dama_runs", RUNS, "queue", "state")
        self._oldest = self._gauge(
            "dama_queue_oldest_seconds", "How long the oldest queued run waits.", "queue"
        )
        self._workers = self._gauge("dama_workers", "Workers whose lease holds.")
        self._troubled = self._gauge(
            "dama_workers_in_trouble", "Live workers that cannot do a part of their work."
        )
        self._duties = self._gauge(
            "dama_duties_in_trouble", "What this process does in the background and fails at."
        )
        self._slots = self._gauge("dama_worker_slots", "Slots of these workers.")
        self._position = self._gauge("dama_log_position", "The newest position of the log.")
        self._lag = self._gauge(
            "dama_subscription_lag", "Events that a subscription is behind.", "subscription"
        )
        self._placed = self._gauge("dama_placed", "Runs on engines.", "launcher", "state")
        self._nodes = self._gauge("dama_nodes", "Nodes of the cluster that are there.")
        self._of_process()

    def _of_process(self) -> None:
        self._pending = self._gauge("dama_calls_pending", "Calls that wait for other nodes.")
        self._calls = self._gauge("dama_calls", "Calls that this node has made or executed.")
        self._pool = self._gauge("dama_pool_connections", "Connections to the database.", "state")

    async def text(self, app: App, broker: Broker) -> bytes:
        """All of them, as Prometheus reads them.

        Raises:
            UnavailableError: The database does not answer.
        """
        self._runs.clear()
        self._oldest.clear()
        self._lag.clear()
        self._placed.clear()
        now = datetime.now(UTC)
        for queue in await app.store.queue.queues():
            for state in STATES:
                self._runs.labels(queue.queue, state).set(getattr(queue, state))
            age = (now - queue.oldest).total_seconds() if queue.oldest else 0
            self._oldest.labels(queue.queue).set(max(age, 0))
        workers = [worker for worker in await app.store.queue.workers() if worker.alive]
        self._workers.set(len(workers))
        self._troubled.set(sum(worker.trouble is not None for worker in workers))
        self._duties.set(len(troubles()))
        self._slots.set(sum(worker.slots for worker in workers))
        position = await app.store.log.position()
        self._position.set(position)
        for row in await app.store.log.subscriptions():
            self._lag.labels(row.name).set(max(position - row.position, 0))
        for placed in await app.store.placements.counts():
            self._placed.labels(placed.launcher, placed.state).inc(placed.runs)
        self._nodes.set(sum(node.is_available for node in broker.catalog.nodes.values()))
        self._pending.set(broker.transit.pending_count if broker.transit else 0)
        self._calls.set(broker.calls)
        for state, number in app.store.database.pool_use().items():
            self._pool.labels(state).set(number)
        return generate_latest(self._registry)

    def _gauge(self, name: str, help_: str, *labels: str) -> Gauge:
        return Gauge(name, help_, labels, registry=self._registry)
