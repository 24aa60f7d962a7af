"""Renewing a lease, as the lease keeper of a worker does."""

from dama.store.renewal import Renewer


def renew(store, worker, *, held, lease, queues=(), tasks=(), places=(None, None)):
    """Renew once, on a connection of its own; give what the worker learns."""
    renewer = Renewer(
        store.database,
        lambda: {
            "worker_id": worker,
            "held": list(held),
            "queues": list(queues),
            "tasks": list(tasks),
            "scheduled": [],
            "ranks": places[0],
            "marks": places[1],
            "offered": [],
            "lease": lease,
        },
    )
    try:
        return renewer.renew()
    finally:
        renewer.close()
