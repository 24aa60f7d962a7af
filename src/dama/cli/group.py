"""Groups whose commands are imported when they are named, and options that fit everywhere.

`--debug` and `--pg-env` may stand before the verb or after it: every command has them, unless a
task has a param of that name.
"""

from __future__ import annotations

from difflib import get_close_matches
from importlib import import_module
from typing import TYPE_CHECKING, Any, TypeVar

import click

from dama.cli.protection import protect
from dama.cli.session import Session

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from typing_extensions import override
else:

    def override(method: Callable[..., Any]) -> Callable[..., Any]:
        """Do nothing: typing's own is new in 3.12, and the package is for type checkers."""
        return method


F = TypeVar("F", bound="Callable[..., object] | click.Command")

Entries = dict[str, tuple[str, str]]
"""Commands by name: where each is (`module:attribute`), and its line on the first page."""


class LazyGroup(click.Group):
    """A group that lists its commands without importing them.

    Args:
        name: As in the command line.
        sections: Commands by the headings of the first page.
        **attributes: Those of click.Group.
    """

    def __init__(self, name: str, sections: Mapping[str, Entries], **attributes: Any) -> None:
        super().__init__(name, **attributes)
        self.sections = sections
        self._entries = {name: e for entries in sections.values() for name, e in entries.items()}
        self.params += shared_options()

    @override
    def list_commands(self, ctx: click.Context) -> list[str]:
        """Name the commands, in the order of the first page."""
        return list(self._entries)

    @override
    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import a command."""
        if cmd_name not in self._entries:
            return None
        module, _, attribute = self._entries[cmd_name][0].partition(":")
        command = add_shared_options(getattr(import_module(module), attribute))
        protect(command, cmd_name)
        return command

    @override
    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command that is named, or the names that are near."""
        name = args[0]
        if name not in self._entries and not name.startswith("-"):
            near = get_close_matches(name, self._entries, n=2)
            meant = f" Did you mean {' or '.join(near)}?" if near else ""
            raise click.UsageError(f"There is no command {name!r}.{meant}", ctx)
        return super().resolve_command(ctx, args)

    @override
    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands by purpose."""
        width = max(map(len, self._entries))
        for heading, entries in self.sections.items():
            with formatter.section(heading):
                formatter.write_dl([(n.ljust(width), text) for n, (_, text) in entries.items()])


def examples(*lines: str) -> str:
    """The end of a help text: lines to copy."""
    return "\b\nExamples:\n" + "\n".join(f"  {line}" for line in lines)


def add_shared_options(command: click.Command) -> click.Command:
    """Give a command, and the commands below it, the options that fit everywhere."""
    taken = {option for param in command.params for option in param.opts}
    command.params += [o for o in shared_options() if not taken.intersection(o.opts)]
    if isinstance(command, click.Group):
        for below in command.commands.values():
            add_shared_options(below)
    return command


def json_option(text: str = "Print one JSON document.") -> Callable[[F], F]:
    """`--json`, as `as_json`. Errors are JSON documents then, too: see `report`."""
    return click.option("--json", "as_json", is_flag=True, help=text)


def reason_option() -> Callable[[F], F]:
    """`--reason`: why somebody acts."""
    return click.option("--reason", metavar="TEXT", help="The reason; it is kept with your name.")


def shared_options() -> list[click.Option]:
    """The options that fit everywhere; they are kept in the session."""
    return [
        click.Option(
            ["--pg-env", "dama_pg_env"],
            metavar="NAME",
            help="Use this environment, or config/postgres.NAME.env.",
            expose_value=False,
            callback=_remember,
        ),
        click.Option(
            ["--profile", "dama_profile"],
            metavar="NAME",
            help="Use what [profiles.NAME] of dama.toml says.",
            expose_value=False,
            callback=_remember,
        ),
        click.Option(
            ["--debug", "dama_debug"],
            is_flag=True,
            help="Show tracebacks and more.",
            expose_value=False,
            callback=_remember,
        ),
    ]


def _remember(ctx: click.Context, param: click.Parameter, value: object) -> None:
    """Keep an option that is given; what is left out here may have been given further left."""
    if value and param.name:
        setattr(ctx.ensure_object(Session), param.name.removeprefix("dama_"), value)
