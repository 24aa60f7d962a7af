"""`dama repl`: a prompt for calls and events, with completion of names."""

from __future__ import annotations

import asyncio
import shlex
import sys
from typing import TYPE_CHECKING, Any

import click

from dama.cli.answers import print_answer
from dama.cli.commands.call import read_params, signature, tell_waiting, until_started
from dama.cli.group import examples
from dama.cli.report import print_error
from dama.cli.terminal import echo, echo_line
from dama.errors import DamaError

if TYPE_CHECKING:
    from dama.broker.broker import Broker
    from dama.cli.session import Session

COMMANDS = ("call", "emit", "broadcast", "actions", "nodes", "services", "help", "exit")
HELP = """\
call ACTION [NAME=VALUE]...      call an action; `call` may be left out
emit EVENT [NAME=VALUE]...       emit an event to one handler of each group
broadcast EVENT [NAME=VALUE]...  broadcast it to all handlers
actions [TEXT]                   list actions, those with a text in their names
nodes, services                  list them
exit, Ctrl-D                     leave"""


@click.command(epilog=examples("dama repl", "echo 'call tasks.list' | dama repl"))
@click.pass_obj
def repl(session: Session) -> None:
    """Call actions and emit events from a prompt; Tab completes their names."""

    async def work() -> None:
        async with session.app(with_services=True, patience=0) as app:
            broker = await app.broker()
            complete(broker)
            tell_waiting(broker)
            if sys.stdin.isatty():
                echo(f"Node {broker.node_id}. `help` lists what there is.")
            while (line := await asyncio.to_thread(_read)) is not None:
                if not await perform(broker, line):
                    return

    asyncio.run(work())


def complete(broker: Broker) -> None:
    """Let Tab complete commands, and the names of actions as they are by then."""
    try:
        import readline
    except ImportError:  # Python was built without it: the prompt works all the same
        return

    def completer(text: str, state: int) -> str | None:
        names = [*COMMANDS, *sorted(broker.catalog.actions)]
        found = [name for name in names if name.startswith(text)]
        return found[state] if state < len(found) else None

    readline.set_completer_delims(" ")
    readline.set_completer(completer)
    # That of macOS is another one, with another syntax.
    is_libedit = "libedit" in (readline.__doc__ or "")
    readline.parse_and_bind("bind ^I rl_complete" if is_libedit else "tab: complete")


async def perform(broker: Broker, line: str) -> bool:
    """Do what a line says; False when it says to leave."""
    try:
        words = shlex.split(line)
        if words and words[0] in {"exit", "quit"}:
            return False
        if words:
            await _do(broker, words[0], words[1:])
    except (DamaError, click.UsageError, ValueError) as error:
        print_error(str(error), getattr(error, "hint", None))
    except Exception as error:  # noqa: BLE001 - an action of this process may raise anything
        print_error(f"{type(error).__name__}: {error}")
    return True


async def _do(broker: Broker, verb: str, words: list[str]) -> None:
    match verb:
        case "help":
            echo(HELP)
        case "nodes":
            _print_names(node["id"] for node in await broker.call("$node.list"))
        case "services":
            _print_names(s["fullName"] for s in await broker.call("$node.services"))
        case "actions":
            found = await broker.call("$node.actions")
            wanted = words[0] if words else ""
            _print_names(
                f"{a['name']} {signature(a['action'].get('params') or {})}".rstrip()
                for a in found
                if wanted in a["name"]
            )
        case "emit" | "broadcast":
            send = broker.emit if verb == "emit" else broker.broadcast
            await send(_first(verb, words), read_params(tuple(words[1:]), None))
        case "call":
            await _call(broker, _first(verb, words), words[1:])
        case _:
            await _call(broker, verb, words)


async def _call(broker: Broker, action: str, words: list[str]) -> None:
    given = read_params(tuple(words), None)
    await until_started(broker, action)
    await print_answer(broker, action, given)


def _first(verb: str, words: list[str]) -> str:
    if not words:
        raise click.UsageError(f"{verb} what? `help` lists what there is.")
    return words[0]


def _print_names(names: Any) -> None:
    for name in names:
        echo_line(str(name))


def _read() -> str | None:
    try:
        return input("dama> " if sys.stdin.isatty() else "")
    except EOFError:
        return None
