"""Renewing a lease, as the lease keeper of a worker does."""

from dama.store.renewal import Renewer


def renew(store, worker, *, held, lease, queues=(), tasks=()):
    """Renew once, on a connection of its own; give what the worker learns."""
    renewer = Renewer(
        store.database,
        lambda: {
            "worker_id": worker,
            "held": list(held),
            "queues": list(queues),
            "tasks": list(tasks),
            "scheduled": [],
            "offered": [],
            "lease": lease,
        },
    )
    try:
        return renewer.renew()
    finally:
        renewer.close()
