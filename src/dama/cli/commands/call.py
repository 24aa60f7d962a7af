"""`dama call`, `dama emit-event`, `dama nodes` and `dama actions`: the broker from a shell."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import click

from dama.cli.answers import print_answer
from dama.cli.group import examples, json_option
from dama.cli.json_input import METAVAR, read_json, read_object
from dama.cli.output import json_text, print_json, print_table
from dama.cli.terminal import echo_line
from dama.config.table import nearest
from dama.errors import NotFoundError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from dama.broker.broker import Broker
    from dama.cli.session import Session

PATIENCE_SECONDS = 5.0  # the time that a person waits for a service before being told


@click.command(
    epilog=examples(
        "dama call tasks.list",
        "dama call contexts.get context_id=42",
        """dama call mailer.send --params '{"to": ["ada@example.org"]}' --timeout 5""",
        "dama call '$node.list'",
    )
)
@click.argument("action", metavar="ACTION")
@click.argument("values", metavar="[NAME=VALUE]...", nargs=-1)
@click.option(
    "--params",
    metavar=METAVAR,
    help="All params as JSON: a file, - for standard input, or the JSON itself.",
)
@click.option("--meta", metavar="JSON", help="A JSON object that goes with the call.")
@click.option("--node", "node_id", metavar="ID", help="The node that executes it.")
@click.option("--timeout", type=click.FloatRange(0), metavar="SECONDS", help="How long to wait.")
@click.pass_obj
def call(
    session: Session,
    action: str,
    values: tuple[str, ...],
    *,
    params: str | None,
    meta: str | None,
    node_id: str | None,
    timeout: float | None,
) -> None:
    """Call an action, of this project or of another node, and print what it returns.

    A value that is JSON is taken as JSON, any other as a string.
    """
    given = read_params(values, params)
    told = {} if meta is None else read_object(meta, "--meta")

    async def work(broker: Broker) -> None:
        from dama.broker.errors import CallError, ServiceNotFoundError

        await until_started(broker, action)
        try:
            await print_answer(broker, action, given, meta=told, node_id=node_id, timeout=timeout)
        except CallError as error:
            if isinstance(error, ServiceNotFoundError) and action in session.registry().tasks:
                error.hint = f"It is a task: `dama run {action}`."
            facts = {k: v for k, v in error.event_fields.items() if k != "retryable"}
            error.hint = "\n".join(
                [*filter(None, [error.hint]), f"Answer: {json_text(facts, indent=0)}"]
            )
            raise

    with_broker(session, work, patience=0)


@click.command(
    "emit-event",
    epilog=examples("dama emit-event order.paid id=7", "dama emit-event cache.clean --broadcast"),
)
@click.argument("event", metavar="EVENT")
@click.argument("values", metavar="[NAME=VALUE]...", nargs=-1)
@click.option(
    "--payload", metavar=METAVAR, help="Any JSON: a file, - for standard input, or the JSON itself."
)
@click.option("--broadcast", is_flag=True, help="To all handlers, not one of each group.")
@click.option("--group", "groups", multiple=True, metavar="NAME", help="Only to this group.")
@click.pass_obj
def emit_event(
    session: Session,
    event: str,
    values: tuple[str, ...],
    *,
    payload: str | None,
    broadcast: bool,
    groups: tuple[str, ...],
) -> None:
    """Emit an event to the handlers of services; `dama emit` appends one to a context."""
    given = read_params(values, payload, "--payload")

    async def work(broker: Broker) -> None:
        send = broker.broadcast if broadcast else broker.emit
        await send(event, given, groups=list(groups) or None)

    with_broker(session, work)


@click.command(epilog=examples("dama nodes", "dama nodes --json | jq '.[].id'"))
@json_option()
@click.pass_obj
def nodes(session: Session, *, as_json: bool) -> None:
    """List the nodes of the cluster; without a transporter there is only this one."""

    async def work(broker: Broker) -> Any:
        return await broker.call("$node.list", {"withServices": True})

    found = with_broker(session, listing(work), patience=0)
    if as_json:
        print_json(found)
        return
    kinds: dict[str, set[str | None]] = {}
    for node in found:
        for name in map(_full_name, node["services"]):
            kinds.setdefault(name, set()).add(node["client"].get("type"))

    def shown(name: str) -> str:
        is_shared = len(kinds[name]) > 1 and not name.startswith("$")
        return f"{name} (of several kinds of nodes)" if is_shared else name

    rows = [
        [
            node["id"] + (" (this one)" if node["local"] else ""),
            "there" if node["available"] else "gone",
            node["client"].get("type"),
            node["hostname"],
            ", ".join(shown(name) for name in sorted(map(_full_name, node["services"]))),
        ]
        for node in found
    ]
    print_table(["node", "state", "client", "host", "services"], rows)


@click.command(epilog=examples("dama actions", "dama actions tasks", "dama actions --json"))
@click.argument("service", metavar="[SERVICE]", required=False)
@json_option()
@click.pass_obj
def actions(session: Session, service: str | None, *, as_json: bool) -> None:
    """List the actions that can be called, of this project and of other nodes."""

    async def work(broker: Broker) -> Any:
        return await broker.call("$node.actions", {"withEndpoints": True})

    listed = with_broker(session, listing(work), patience=0)
    found = [a for a in listed if service in {None, service_of(a["name"])}]
    if not found and service is not None:
        known = sorted({service_of(action["name"]) for action in listed})
        hint = nearest(service, known, verb="Services with actions are")
        raise NotFoundError(f"No service {service!r} has an action here.", hint)
    if as_json:
        print_json(found)
        return
    rows = [
        [
            action["name"],
            ", ".join(endpoint["nodeID"] for endpoint in action["endpoints"]),
            signature(action["action"].get("params") or {}),
            action["action"].get("description"),
        ]
        for action in found
    ]
    print_table(["action", "nodes", "params", "what it does"], rows)


def _full_name(service: dict[str, Any]) -> str:
    return service.get("fullName") or service["name"]


def with_broker(
    session: Session,
    work: Callable[[Broker], Awaitable[Any]],
    patience: float = PATIENCE_SECONDS,
) -> Any:
    """Do something with the broker of this process.

    A person waits for it: what a service of the project needs is there after `patience` seconds, or
    that is said. With 0 nobody waits for it.
    """

    async def opened() -> Any:
        async with session.app(with_services=True, patience=patience) as app:
            return await work(await app.broker())

    return asyncio.run(opened())


def listing(work: Callable[[Broker], Awaitable[Any]]) -> Callable[[Broker], Awaitable[Any]]:
    """The same, and at its end what services of the project are not there, so not in a list."""

    async def told(broker: Broker) -> Any:
        found = await work(broker)
        tell_waiting(broker)
        return found

    return told


async def until_started(broker: Broker, action: str) -> None:
    """Wait until the service of an action has what it needs; other services do not matter.

    Raises:
        ServiceNotFoundError: What it needs did not come while a person waits for it.
    """
    name = service_of(action)
    if name in broker.waiting_services():
        needed = broker.services[name].definition.dependencies
        await broker.wait_for_services(*needed, timeout=PATIENCE_SECONDS)
        await broker.wait_for_services(name, timeout=PATIENCE_SECONDS)


def tell_waiting(broker: Broker) -> None:
    """Say which services of the project are not there, and why."""
    for name, missing in broker.waiting_services().items():
        echo_line(f"{name} is not started: it waits for the service {', '.join(missing)}", err=True)


def read_params(values: tuple[str, ...], text: str | None, option: str = "--params") -> Any:
    """Params of `name=value` and of one JSON document, which may not be both."""
    if text is not None:
        if values:
            raise click.UsageError("Params are given as NAME=VALUE or as one JSON, not as both.")
        return read_json(text, option)
    given: dict[str, Any] = {}
    for value in values:
        name, found, content = value.partition("=")
        if not found:
            raise click.UsageError(f"{value!r} is not a param. Write NAME=VALUE.")
        if name in given:
            raise click.UsageError(f"{name} is given twice.")
        given[name] = value_of(content)
    return given or None


def value_of(text: str) -> Any:
    """JSON where it is JSON, else the text.

    Raises:
        RepeatedMemberError: It is JSON in which an object has a member twice.
    """
    from dama.domain.errors import RepeatedMemberError
    from dama.domain.exact import decode

    try:
        return decode(text)
    except RepeatedMemberError:
        raise
    except ValueError:
        return text


def service_of(action: str) -> str:
    """The service of an action."""
    return action.rpartition(".")[0]


def signature(params: dict[str, Any]) -> str:
    """Params on one line, those that may be left out with a question mark."""
    from dama.broker.schema import may_be_left_out

    return " ".join(
        f"{name}{'?' if may_be_left_out(rule) else ''}"
        for name, rule in params.items()
        if not name.startswith("$$")  # what Moleculer's validator is told of all of them
    )
