"""`dama run NAME`: a command of its own for each task, made from its signature and docstring."""

from __future__ import annotations

import asyncio
import os
import platform
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from dama.cli.group import add_shared_options, examples, override, shared_options
from dama.cli.json_input import METAVAR, read_object
from dama.cli.log_level import LOG_LEVEL, LOG_LEVEL_HELP
from dama.cli.param_options import ParamOption, param_options, typed_params, with_flags
from dama.cli.session import Session
from dama.definitions.adhoc import adhoc
from dama.definitions.errors import InvalidParamsError, UnknownTaskError
from dama.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dama.definitions.service import Service
    from dama.definitions.task import TaskDefinition

_META = "dama.run"
_COMMAND = "dama.command"


@dataclass
class RunOptions:
    """The options of `dama run` itself; before the name of the task or after it.

    Attributes:
        detach: Return at once; the task runs in the background.
        enqueue: Return at once; a worker executes the task.
        key: The idempotency key.
        json: Print one JSON document.
        queue: Instead of the task's own.
        priority: Instead of the task's own.
        delay: Seconds before it is queued.
        expires: Seconds in which it must start.
        deadline: Seconds in which it must end.
        label: What its worker must offer.
        is_own_label: Whether only this process offers it.
        inherit: Variables that a program without a declaration gets besides.
        params: All params as JSON, in a file or on standard input; None for options only.
        quiet: Print nothing but the result.
        here: Execute subtasks here that ask for a launcher or a label.
        page: Serve the page of the run.
        log_level: What its functions log, from this level on.
    """

    detach: bool = False
    enqueue: bool = False
    key: str | None = None
    json: bool = False
    queue: str | None = None
    priority: int | None = None
    delay: float | None = None
    expires: float | None = None
    deadline: float | None = None
    label: tuple[str, ...] = ()
    is_own_label: bool = False
    inherit: tuple[str, ...] = ()
    params: str | None = None
    here: bool = False
    quiet: bool = False
    page: bool = False
    log_level: str | None = None

    def start_options(self) -> dict[str, Any]:
        """What the start of the task is asked for besides its params."""
        names = ("key", "queue", "priority", "delay", "expires", "deadline")
        start_options = {
            name: getattr(self, name) for name in names if getattr(self, name) is not None
        }
        return start_options | ({"labels": self.label} if self.label else {})


class TaskGroup(click.Group):
    """The tasks as commands.

    Args:
        name: As in the command line.
        service: Tasks of this service only, by their short names; None for those of the project.
        **attributes: Those of click.Group.
    """

    def __init__(self, name: str, service: Service | None = None, **attributes: Any) -> None:
        super().__init__(name, **attributes)
        self._service = service
        self.params += run_options()

    def tasks(self, ctx: click.Context) -> Mapping[str, TaskDefinition[Any]]:
        """The tasks by the names that they are called by."""
        if self._service:
            return self._service.tasks
        return ctx.ensure_object(Session).registry().tasks

    @override
    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """What comes after `--` without a task before it is a program of its own."""
        if "--" in args:
            place = args.index("--")
            before, command = args[:place], args[place + 1 :]
            if command and not self.make_parser(ctx).parse_args(list(before))[1]:
                ctx.meta[_COMMAND] = command
                args = [*before, adhoc.name]
        return super().parse_args(ctx, args)

    @override
    def list_commands(self, ctx: click.Context) -> list[str]:
        """Name the tasks."""
        return list(self.tasks(ctx))

    @override
    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command:
        """Make the command of a task."""
        if _COMMAND in ctx.meta:
            return _program_command(ctx.meta[_COMMAND])
        found = self.tasks(ctx).get(cmd_name)
        if found is None:
            # By its full name, or with the error that names the nearest ones.
            own = f"{self._service.name}." if self._service and "." not in cmd_name else ""
            try:
                found = ctx.ensure_object(Session).registry().task(own + cmd_name)
            except UnknownTaskError as error:
                if _is_program(cmd_name):
                    error.hint = f"{error.hint} A program is run with dama run -- {cmd_name}"
                raise
        return task_command(found, f"{ctx.command_path} {cmd_name}")

    @override
    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the tasks, each with its summary."""
        if tasks := self.tasks(ctx):
            with formatter.section("Tasks"):
                formatter.write_dl([(name, task.summary) for name, task in tasks.items()])


def _is_program(name: str) -> bool:
    return shutil.which(name) is not None or Path(name).is_file()


def _program_command(command: list[str]) -> click.Command:
    """The command of a program that nobody declared; all its arguments are known already."""

    @click.pass_context
    def call(ctx: click.Context) -> int:
        chosen = _chosen(ctx)
        if chosen.params is not None:
            raise UsageError(
                "--params is for a task, and what follows `--` is a command.",
                "Give the command its arguments, or declare it in dama.toml.",
            )
        if not chosen.enqueue and not chosen.label:
            # No other worker has the environment of this terminal.
            chosen.label = (f"terminal/{platform.node()}/{os.getpid()}",)
            chosen.is_own_label = True
        params: dict[str, object] = {"command": command, "cwd": str(Path.cwd())}
        if chosen.inherit:
            params["inherit"] = list(chosen.inherit)
        return _begin(ctx, adhoc.name, params)

    return click.Command(adhoc.name, callback=call)


def _chosen(ctx: click.Context) -> RunOptions:
    return ctx.meta.setdefault(_META, RunOptions())


def task_command(definition: TaskDefinition[Any], path: str) -> click.Command:
    """Make the command of one task; `path` is all that is typed before its options."""
    options = param_options(definition.params)
    flags = {option.flag for option in options}

    @click.pass_context
    def call(ctx: click.Context, /, **typed: object) -> int:
        return _call(ctx, definition, options, typed)

    command = click.Command(
        path.rpartition(" ")[2],
        params=[option.as_click(flags) for option in options],
        callback=call,
        help=f"{definition.summary}\n\n{definition.description}".strip(),
        epilog=_example(path, options),
    )
    # A param of the task comes first: its option hides the one of `dama run`, which may still
    # be given before the name of the task.
    command.params += [o for o in run_options() if not flags.intersection(o.opts)]
    return add_shared_options(command)


def run_options() -> list[click.Option]:
    """The options of `dama run` itself."""

    def option(flag: str, text: str, **attributes: Any) -> click.Option:
        names = [flag, f"run_{flag[2:].replace('-', '_')}"]
        return click.Option(names, help=text, expose_value=False, callback=_remember, **attributes)

    return [
        option("--detach", "Return at once; it runs in the background.", is_flag=True),
        option("--enqueue", "Return at once; a worker executes it.", is_flag=True),
        option(
            "--key",
            "Idempotency key: the same task with the same key is started once.",
            metavar="TEXT",
        ),
        option("--queue", "Instead of the task's own queue.", metavar="NAME"),
        option("--priority", "Higher ones are claimed first.", type=int),
        option("--delay", "Seconds before it is queued.", type=click.FloatRange(0)),
        option("--expires", "Seconds in which it must start.", type=click.FloatRange(0)),
        option("--deadline", "Seconds in which it must end.", type=click.FloatRange(0)),
        option(
            "--label",
            "Queue it for a worker that offers this label.",
            multiple=True,
            metavar="NAME",
        ),
        option(
            "--inherit",
            "A variable of this environment that a program after `--` gets, too.",
            multiple=True,
            metavar="NAME",
        ),
        option(
            "--params",
            "All params as JSON: a file, - for standard input, or the JSON itself. "
            "Options win over it.",
            metavar=METAVAR,
        ),
        option(
            "--here",
            "Execute everything here, even what asks for a launcher or a label.",
            is_flag=True,
        ),
        option("--page", "Serve its page, and print the address.", is_flag=True),
        option("--quiet", "Print only the result and errors.", is_flag=True),
        option("--log-level", LOG_LEVEL_HELP, type=LOG_LEVEL),
        option("--json", "Print the outcome as one JSON document.", is_flag=True),
    ]


def _remember(ctx: click.Context, param: click.Parameter, value: object) -> None:
    options = ctx.meta.setdefault(_META, RunOptions())
    if value is not None and value is not False and value != () and param.name:
        setattr(options, param.name.removeprefix("run_"), value)


def _call(
    ctx: click.Context,
    definition: TaskDefinition[Any],
    options: list[ParamOption],
    typed: Mapping[str, object],
) -> int:
    params = {**_given(ctx), **typed_params(options, typed)}
    try:
        definition.validate(params)
    except InvalidParamsError as error:
        raise with_flags(error, options, ctx.command_path) from None
    return _begin(ctx, definition.name, params)


def _given(ctx: click.Context) -> dict[str, object]:
    """The params of --params."""
    given = _chosen(ctx).params
    return {} if given is None else read_object(given, "--params")


def _begin(ctx: click.Context, name: str, params: Mapping[str, object]) -> int:
    from dama.cli.follow import enqueue, run_here, start_detached

    session, chosen = ctx.ensure_object(Session), _chosen(ctx)
    if chosen.inherit and name != adhoc.name:
        raise UsageError(
            f"--inherit is for a program that nobody declared, and {name} is declared.",
            'Write inherit = ["NAME"] into its declaration.',
        )
    is_for_others = bool(chosen.label) and not chosen.is_own_label
    start_options = chosen.start_options()
    if chosen.detach or chosen.enqueue or is_for_others:
        asked: dict[str, Any] = {"start_options": start_options, "as_json": chosen.json}
        if chosen.detach and not is_for_others:
            return asyncio.run(start_detached(session, name, params, here=chosen.here, **asked))
        return asyncio.run(enqueue(session, name, params, **asked))
    return run_here(
        session,
        name,
        params,
        start_options=start_options,
        as_json=chosen.json,
        quiet=chosen.quiet,
        here=chosen.here,
        page=chosen.page,
        log_level=chosen.log_level,
    )


def _example(path: str, options: list[ParamOption]) -> str:
    required = [f"{option.flag} ..." for option in options if option.required]
    line = " ".join([path, *required])
    return examples(line, f"{line} --detach --key nightly-2013-01-01")


run = TaskGroup(
    "run",
    help="""Run a task here and follow it to its end.

    The task is a context of its own in the database, and each of its steps is kept. Ctrl-C stops
    it, and `dama resume` continues after its last step.

    Its options come from its signature: `dama run NAME --help`. What follows `--` is a program that
    needs no declaration; Ctrl-C lets it continue, and `dama cancel` ends it.
    """,
    epilog=examples(
        "dama run flights.load --help",
        "dama run flights.load --year 2013",
        "dama run flights.load --detach",
        "dama run flights.load --json | jq .result",
        "dama run -- ./legacy.sh --year 2013",
    ),
    subcommand_metavar="NAME [OPTIONS]",
)


def service_group(service: Service) -> click.Group:
    """The command line of a module that is run by itself."""
    group = TaskGroup(
        service.name,
        service,
        help=service.summary or f"The tasks of {service.name}.",
        subcommand_metavar="TASK [OPTIONS]",
        context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    )
    group.params += shared_options()
    return group
