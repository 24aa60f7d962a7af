"""Protected environments: commands that change what is there ask first, or want `--yes`.

`dama run`, `worker`, `up` and `gateway` do not: what they start is what an environment is for.
"""

from __future__ import annotations

import sys
from functools import wraps
from typing import TYPE_CHECKING, Any

import click

from dama.cli.session import Session
from dama.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable

ACTS = frozenset((
    "cancel", "resume", "fork", "signal", "emit", "scrub", "import-run",
    "queue pause", "queue resume", "queue limit",
    "schedule add", "schedule backfill", "schedule pause", "schedule resume", "schedule rm",
    "archive add", "archive restore", "archive move", "archive forget",
    "token add", "token revoke", "log resume", "log drop", "slice materialise", "slice drop",
    "db adopt", "db migrate", "db rebuild",
))  # fmt: skip
"""The commands that act, as they are typed."""
ONLY_LOOKS = ("dry_run", "only_print")  # options with which one changes nothing


def protect(command: click.Command, path: str) -> None:
    """Let a command, and those below it, ask where the environment is protected.

    Args:
        command: Which.
        path: As it is typed after `dama`.
    """
    if isinstance(command, click.Group):
        for name, below in command.commands.items():
            protect(below, f"{path} {name}")
    names = {param.name for param in command.params}
    if path not in ACTS or "dama_yes" in names:
        return
    if "yes" not in names:  # else it asks anyway, and its own option is for both
        command.params.append(
            click.Option(
                ["--yes", "dama_yes"],
                is_flag=True,
                help="Do not ask where the environment is protected.",
                expose_value=False,
                callback=_remember,
            )
        )
    if command.callback is not None:
        command.callback = _asking(command.callback, path)


def _remember(ctx: click.Context, param: click.Parameter, value: bool) -> None:  # noqa: FBT001 - click's
    ctx.ensure_object(Session).says_yes = value


def _asking(callback: Callable[..., Any], path: str) -> Callable[..., Any]:
    @wraps(callback)
    def ask_first(*args: Any, **options: Any) -> Any:
        ctx = click.get_current_context()
        session = ctx.find_object(Session)
        if session and options.get("yes"):
            session.says_yes = True
        if (
            ctx.invoked_subcommand is None
            and session
            and not any(options.get(name) for name in ONLY_LOOKS)
        ):
            _ask(session, path)
        return callback(*args, **options)

    return ask_first


def _ask(session: Session, path: str) -> None:
    config = session.config()
    if not config.is_protected or session.says_yes:
        return
    where = f"The environment {config.environment}" if config.environment else "This environment"
    fact = f"{where} is protected, and dama {path} changes what is there."
    if not sys.stdin.isatty():
        raise UsageError(fact, "Say --yes if that is meant.")
    click.confirm(f"{fact} Continue?", abort=True, err=True)
