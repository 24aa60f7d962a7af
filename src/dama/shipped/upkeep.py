"""The services `archive` and `upkeep`: what keeps a database and a host in order."""

from __future__ import annotations

import os
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from dama.config.duration import parse_duration
from dama.definitions.service import Service
from dama.domain.exact import document
from dama.operations import archive, health, run_files, scrubbing
from dama.shipped.documents import Id, starter
from dama.upkeep.scrubbing import Where

if TYPE_CHECKING:
    from dama.app import App
    from dama.broker.call import Call


def archive_service(app: App) -> Service:
    """Make the service `archive`."""
    service = Service("archive", description="Archive closed trees and restore them.")

    @service.action(scope="operator", timeout=0, rest="POST /")
    async def add(
        call: Call,
        older_than: str,
        *,
        failed: bool = False,
        dry_run: bool = False,
    ) -> Any:
        """Archive trees in which nothing has happened for longer than an age.

        Args:
            older_than: The age, such as 90d or 12h.
            failed: Include trees that failed and could be resumed.
            dry_run: Only say how many.
        """
        age = _age(older_than)
        if dry_run:
            return document(await archive.count(app, age, failed=failed))
        return document(await archive.add(app, age, failed=failed))

    @service.action(scope="operator", timeout=0, rest="POST /:context_id/restore")
    async def restore(call: Call, context_id: Id) -> dict[str, int]:
        """Bring back the tree of a context.

        Args:
            context_id: Any of the tree.
        """
        return {"contexts": await archive.restore(app, context_id)}

    @service.action(scope="admin", timeout=0, rest="POST /forget")
    async def forget(call: Call, older_than: str) -> Any:
        """Remove for good what has been archived for longer than an age.

        Args:
            older_than: The age, such as 730d.
        """
        return document(await archive.forget(app, _age(older_than)))

    return service


def upkeep_service(app: App) -> Service:
    """Make the service `upkeep`."""
    service = Service("upkeep", description="Keep the host of this node in order.")

    @service.action(scope="operator", timeout=0, rest="POST /clean")
    async def clean(call: Call, *, dry_run: bool = False) -> Any:
        """Remove logs and working folders on this host that are older than [keep] says.

        Args:
            dry_run: Only say what would be removed.
        """
        return document(await run_files.clean(app, dry_run=dry_run))

    @service.action(scope="viewer", timeout=0, rest="GET /doctor")
    async def doctor(call: Call) -> Any:
        """Check the database, the queue, the workers and the log, with what to do about them."""
        return document(await health.examine(app))

    @service.action(scope="admin", timeout=0, rest="POST /scrub")
    async def scrub(
        call: Call,
        env: str,
        context_id: Id | None = None,
        *,
        tree: bool = False,
        all: bool = False,
        reason: str = "",
        dry_run: bool = False,
    ) -> Any:
        """Strike a secret out of all that is stored, and out of the files of this node's host.

        The secret itself is in no call: it is a variable of this node.

        Args:
            env: The variable in the environment of this node that holds the secret.
            context_id: Search this context only.
            tree: The whole tree that the context is in.
            all: The whole store.
            reason: The reason; it is kept with the act.
            dry_run: Only say where it is.
        """
        scrubbing.check_where(context_id, tree=tree, everywhere=all)
        secret = scrubbing.secret_named(env, os.environ)
        where = Where(context_id, tree, reason)
        return document(await scrubbing.scrub(app, secret, where, starter(call), dry_run=dry_run))

    return service


def _age(text: str) -> timedelta:
    return timedelta(seconds=parse_duration(text, of="older_than"))
