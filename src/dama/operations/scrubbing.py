"""Scrubbing: a secret that got in is struck out of all that is stored, and the act is recorded."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dama.domain.reserved import name_of
from dama.domain.secrets import SHORTEST, Secrets
from dama.errors import UsageError
from dama.upkeep import scrubbing

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dama.app import App
    from dama.shapes import Json
    from dama.upkeep.scrubbing import Scrubbed


async def scrub(
    app: App,
    secret: str,
    where: scrubbing.Where,
    by: Mapping[str, Json],
    *,
    dry_run: bool = False,
) -> Scrubbed:
    """Strike a secret out of the database and the files of this host.

    Args:
        app: Its connection must be that of the owner of the tables.
        secret: The secret; a newline at its end is not part of it.
        where: What is searched, and why.
        by: Who does it.
        dry_run: Only say where it is.

    Raises:
        UsageError: It is so short that it would be struck out of many other texts.
        MissingRightError: The role is not the owner of the tables.
    """
    value = secret.removesuffix("\n").removesuffix("\r")
    if len(value) < SHORTEST:
        raise UsageError(
            f"The secret has {len(value)} characters; at least {SHORTEST} are expected.",
            "A shorter one is part of many texts, which could not be read any more.",
        )
    who = name_of(by) or "?"
    secrets = Secrets([value])
    return await scrubbing.scrub(app.store, app.home, secrets, where, by=who, dry_run=dry_run)


def check_where(context_id: int | None, *, tree: bool, everywhere: bool) -> None:
    """Refuse to search in nothing, or in two places.

    Raises:
        UsageError: It is not clear what is to be searched.
    """
    if (context_id is None) != everywhere or (tree and everywhere):
        raise UsageError("What is to be searched?", "Give a CONTEXT, with --tree or not, or --all.")


def secret_named(name: str, environ: Mapping[str, str]) -> str:
    """The secret in a variable.

    Raises:
        UsageError: There is no such variable.
    """
    if name not in environ:
        raise UsageError(f"There is no variable {name} in the environment.", "Export it first.")
    return environ[name]
