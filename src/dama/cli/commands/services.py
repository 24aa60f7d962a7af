"""`dama services`: what there is to run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from dama.cli.group import examples, json_option
from dama.cli.output import print_json
from dama.cli.terminal import echo, style

if TYPE_CHECKING:
    from dama.cli.session import Session
    from dama.definitions.service import Service
    from dama.definitions.task import TaskDefinition


@click.command(
    epilog=examples(
        "dama services", "dama services flights", "dama services --json | jq '.[].tasks[].name'"
    )
)
@click.argument("name", metavar="[NAME]", required=False)
@json_option("Print one JSON document, with schemas.")
@click.pass_obj
def services(session: Session, name: str | None, *, as_json: bool) -> None:
    """List services, their tasks and their actions; only one service when it is named."""
    registry = session.registry()
    found = [registry.service(name)] if name else list(registry.services.values())
    if as_json:
        print_json([_service_document(service) for service in found])
        return
    if not found:
        echo(f"There are no services. {registry.how_to_begin()}")
        echo("Programs work as well: `dama import FOLDER` drafts their declarations.")
        return
    for number, service in enumerate(found):
        echo("\n" * bool(number), nl=False)
        _print_service(service)
    for module in () if name else registry.broken.values():
        echo(f"\n{style(module.name, bold=True)}  cannot be imported: {module.error.message}")
        width = max(map(len, module.tasks), default=0)
        for task, place in module.tasks.items():
            echo(f"  {task.ljust(width)}  broken, {place}")
    echo("\nOptions of a task: dama run NAME --help")


def _print_service(service: Service) -> None:
    echo(f"{style(service.name, bold=True)}  {service.summary}".rstrip())
    listed = [(task.name, task.summary) for task in service.tasks.values()]
    listed += [
        (f"{service.full_name}.{name}", f"{action.summary} (action)".lstrip())
        for name, action in service.actions.items()
    ]
    width = max((len(name) for name, _ in listed), default=0)
    for name, summary in listed:
        echo(f"  {name.ljust(width)}  {summary}".rstrip())


def _service_document(service: Service) -> dict[str, object]:
    from dama.broker.schema import describe_action

    return {
        "name": service.name,
        "summary": service.summary,
        "tasks": [_task_document(task) for task in service.tasks.values()],
        "actions": [
            describe_action(f"{service.full_name}.{name}", action)
            for name, action in service.actions.items()
        ],
    }


def _task_document(task: TaskDefinition[Any]) -> dict[str, object]:
    from dama.shipped.tasks import describe_task

    command = task.program and {"command": task.program.command, "cwd": task.program.cwd}
    return {**describe_task(task), "program": command}
