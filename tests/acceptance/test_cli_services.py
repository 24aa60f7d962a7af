"""Services from the command line: calls, events, nodes, the prompt, tokens."""

import json
import os
import pty
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

DAMA = str(Path(sys.executable).with_name("dama"))
SERVICE = '''
"""A service with actions."""
from asyncio import CancelledError
from dama import Call, CallError, Service, Task

stock = Service("stock", version=2)

@stock.action
async def item(call: Call, id: int, unit: str = "pieces") -> dict:
    """Read an item."""
    return {"id": id, "unit": unit, "user": call.meta.get("user")}

@stock.action
async def lines(call: Call, count: int):
    """Give lines."""
    for number in range(count):
        yield f"{number}\\n"

@stock.action
async def rows(call: Call, count: int):
    """Give objects."""
    for number in range(count):
        yield {"number": number}

@stock.action
async def sold_out(call: Call) -> None:
    """Fail."""
    raise CallError("it is sold out", "come again", code="SOLD_OUT", status=410, data={"id": 7})

@stock.action
async def odd(call: Call, what: str) -> object:
    """End in a way of its own."""
    if what == "raise":
        raise ValueError("no such shelf")
    deep = []
    for _ in range(2_000):
        deep = [deep]
    return {"deep": deep, "half": "x\\ud83d", "object": object()}[what]

@stock.action
async def broken(call: Call, end: str):
    """Break off."""
    yield {"number": 0}
    raise {"ValueError": ValueError, "CancelledError": CancelledError}[end]("no such shelf")

@stock.on("price.*")
def noted(call: Call, payload: object) -> None:
    """Note a price."""
    with open("noted", "a") as file:
        file.write(f"{call.name} {payload} {call.event_type}\\n")

@stock.task
async def order(task: Task, id: int) -> object:
    """Order an item, by an action."""
    return await task.call("v2.stock.item", {"id": id})
'''


@pytest.fixture
def project(tmp_path):
    """A folder with a service."""
    (tmp_path / "stock.py").write_text(SERVICE)
    (tmp_path / "dama.toml").write_text('services = ["stock"]\n')
    return tmp_path


def test_an_action_is_called_with_values_or_json(dama):
    done = dama("call", "v2.stock.item", "id=7", "unit=kg", "--meta", '{"user": "ada"}')
    assert json.loads(done.stdout) == {"id": 7, "unit": "kg", "user": "ada"}
    done = dama("call", "v2.stock.item", "--params", "-", text='{"id": 8}')
    assert json.loads(done.stdout)["id"] == 8
    assert dama("call", "v2.stock.lines", "count=3").stdout == "0\n1\n2\n"


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        (["v2.stock.item", "id=x"], 2, "id should be a valid integer"),
        (["v2.stock.item", "7"], 2, "Write NAME=VALUE"),
        (["v2.stock.item", "id=1", "--params", "{}"], 2, "not as both"),
        (["v2.stock.item", "--params", "{"], 2, "--params"),
        (["v2.stock.iten"], 4, "dama actions"),
        (["v2.stock.sold_out"], 1, "come again"),
        (["v2.stock.item", "id=1", "--node", "nobody"], 4, "nobody"),
    ],
)
def test_a_call_that_can_not_be_made_says_why(dama, arguments, code, told):
    done = dama("call", *arguments)
    assert (done.returncode, told in done.stderr) == (code, True), done.stderr
    assert "Traceback" not in done.stderr


def test_what_the_code_of_an_action_does_is_no_bug_of_dama(dama):
    """It is answered as another node would answer it, from here and at the prompt."""
    for what, told in (("raise", '"name":"ValueError"'), ("object", '"type":"NOT_JSON"')):
        done = dama("call", "v2.stock.odd", f"what={what}")
        assert (done.returncode, told in done.stderr, "bug" in done.stderr) == (1, True, False)
    lines = [f"v2.stock.odd what={what}" for what in ("raise", "deep", "half", "object")]
    lines += ["v2.stock.broken end=ValueError", "v2.stock.broken end=CancelledError"]
    prompt = dama("repl", text="\n".join([*lines, "v2.stock.rows count=1"]))
    errors = [line for line in prompt.stderr.splitlines() if line.startswith("Error: ")]
    assert [line.removeprefix("Error: ")[:50] for line in errors] == [
        "no such shelf",
        "result[0][0][0][0][0][0][0][0][0][0][0][0][0][0][0",
        "result cannot be written as JSON: 'utf-8' codec ca",
        "result cannot be written as JSON: Unable to serial",
        "no such shelf",
        "v2.stock.broken ended with CancelledError: no such",
    ]
    assert prompt.stdout == 3 * '{"number":0}\n'


def test_an_event_reaches_its_handlers(dama):
    assert dama("emit-event", "price.changed", "id=7").returncode == 0
    assert dama("emit-event", "price.gone", "--payload", "[1]", "--broadcast").returncode == 0
    assert dama("emit-event", "price.x", "--group", "other").returncode == 0
    assert (dama.folder / "noted").read_text().splitlines() == [
        "price.changed {'id': 7} emit",
        "price.gone [1] broadcast",
    ]


NEEDY = '''
"""It needs what nobody has."""
from dama import Call, Service

needy = Service("needy", dependencies=["absent"])

@needy.action
async def ask(call: Call) -> int:
    """Answer."""
    return 42
'''


@pytest.fixture
def needy(dama, tmp_path):
    """The project has a service that waits for another one, which never comes."""
    (tmp_path / "needy.py").write_text(NEEDY)
    (tmp_path / "dama.toml").write_text('services = ["stock", "needy"]\n')
    return dama


def test_a_listing_waits_for_no_service(needy):
    """It lists what there is, and says what is not there, and why."""
    for command in ("actions", "nodes"):
        listed = needy(command)
        assert "v2.stock" in listed.stdout
        assert "needy is not started: it waits for the service absent" in listed.stderr
    assert "needy" in needy("services").stdout
    prompt = needy("repl", text="v2.stock.item id=1\nneedy.ask\nexit\n")
    assert '"id": 1' in prompt.stdout
    assert "waits for the service absent" in prompt.stderr
    assert "there is no service absent" in prompt.stderr


@pytest.mark.parametrize("command", [["call", "needy.ask"], ["emit-event", "price.new"]])
def test_a_call_says_after_seconds_what_is_missing(needy, command):
    """Nobody sits before a silent terminal."""
    done = needy(*command)

    assert done.returncode not in (0, 70)
    assert "no service absent" in done.stderr
    assert "dama nodes" in done.stderr


def test_a_call_waits_only_for_what_its_service_needs(needy):
    """What another service of the project misses is nothing to it."""
    done = needy("call", "v2.stock.item", "id=1")

    assert done.returncode == 0
    assert '"id": 1' in done.stdout
    assert done.stderr == ""
    assert "There is no action 'v2.stock.no'" in needy("call", "v2.stock.no").stderr


def test_nodes_actions_and_services_are_listed(dama):
    assert "(this one)" in dama("nodes").stdout
    (node,) = json.loads(dama("nodes", "--json").stdout)
    assert {"$node", "tasks", "v2.stock"} <= {s["fullName"] for s in node["services"]}
    assert "Did you mean 'v2.stock'?" in dama("actions", "v2.stok").stderr
    listed = dama("actions", "v2.stock").stdout
    assert "v2.stock.item" in listed
    assert "id unit?" in listed
    assert "tasks.start" not in listed
    assert "Read an item. (action)" in dama("services").stdout
    (service,) = json.loads(dama("services", "--json").stdout)
    assert service["actions"][0]["params"]["id"] == {"type": "number", "integer": True}


def test_a_task_that_is_run_here_calls_actions(dama):
    done = dama("run", "stock.order", "--id", "3")
    assert done.returncode == 0, done.stderr
    assert '"id": 3' in done.stdout
    assert "It is a task: `dama run stock.order`." in dama("call", "stock.order").stderr


def test_the_prompt_takes_lines_from_a_pipe_and_survives_mistakes(dama):
    lines = 'v2.stock.item id=1\nno.thing\ncall\n"open\nactions stock\nnodes\nhelp\nexit\nnever\n'
    done = dama("repl", text=lines)
    assert done.returncode == 0
    assert '"id": 1' in done.stdout
    assert "v2.stock.item id unit?" in done.stdout
    assert "There is no action 'no.thing'." in done.stderr
    assert "call what?" in done.stderr
    assert "never" not in done.stdout


def test_the_prompt_completes_names(dama):
    """On a real terminal: Tab after the beginning of a name."""
    main, other = pty.openpty()
    process = subprocess.Popen(
        [DAMA, "repl"], cwd=dama.folder, env={**dama.environ, "TERM": "dumb"},
        stdin=other, stdout=other, stderr=other,
    )  # fmt: skip
    os.close(other)
    try:
        shown = read_until(main, b"dama> ")
        os.write(main, b"v2.stock.it\t id=5\n")
        shown = read_until(main, b'"unit"')
        assert b'"id": 5' in shown
    finally:
        process.kill()
        process.wait()
        os.close(main)


def read_until(descriptor, text):
    shown, end = b"", time.monotonic() + 60
    while text not in shown:
        assert time.monotonic() < end, shown
        shown += os.read(descriptor, 4096)
    return shown


def test_tokens_are_made_listed_and_revoked(dama):
    made = dama("token", "add", "ada", "--scope", "operator", "--service", "stock")
    assert made.stdout.startswith("dama_")
    assert "only its digest is stored" in made.stderr
    assert dama("token", "add", "ada").returncode == 6
    (listed,) = json.loads(dama("token", "ls", "--json").stdout)
    assert (listed["name"], listed["scope"], listed["services"]) == ("ada", "operator", ["stock"])
    assert made.stdout.strip().split("_", 2)[2] not in dama("token", "ls", "--json").stdout
    assert dama("token", "revoke", "ada").returncode == 0
    assert dama("token", "revoke", "ada").returncode == 4
    assert dama("token", "add", "ada", "--expires", "soon").returncode == 2


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ('[gateway]\nport = "x"', "gateway.port"),
        ("[gateway]\nprot = 1", "Did you mean 'port'"),
        ("[gateway]\nrate_window = 0", "more than 0"),
        ('[gateway]\nbefore_call = "no:where"', "no:where"),
        ('[broker]\nurl = "redis://x"', "NATS"),
        ('[broker]\nurl = "nats://127.0.0.1:1"', "NATS cannot be reached"),
        ('[broker]\nurl = "nats://host:port"', "NATS cannot be reached"),
        ("[broker]\nprotocol = 6", "from 4 to 5"),
        ("broker = 5", "must be a table"),
    ],
)
def test_settings_that_are_wrong_are_named(dama, settings, told):
    (dama.folder / "dama.toml").write_text(f'services = ["stock"]\n{settings}\n')
    if settings.startswith("broker"):
        (dama.folder / "dama.toml").write_text(f'{settings}\nservices = ["stock"]\n')
    done = dama("gateway") if "[gateway]" in settings else dama("nodes")
    assert done.returncode in {2, 3}, done.stderr
    assert told in done.stderr
    assert "Traceback" not in done.stderr


def test_the_gateway_says_when_its_port_is_taken(dama):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        done = dama("gateway", "--port", str(taken.getsockname()[1]))
    assert done.returncode == 2
    assert "choose another port" in done.stderr


def test_the_gateway_refuses_a_network_without_tokens(dama):
    done = dama("gateway", "--host", "0.0.0.0", "--port", "0")  # noqa: S104 - what is refused
    assert done.returncode == 6
    assert "dama token add" in done.stderr


def test_objects_of_a_stream_are_lines_of_json(dama):
    done = dama("call", "v2.stock.rows", "count=2")
    assert [json.loads(line) for line in done.stdout.splitlines()] == [{"number": 0}, {"number": 1}]


def test_an_error_is_printed_with_its_code_its_type_and_its_data(dama):
    done = dama("call", "v2.stock.sold_out")
    assert done.returncode == 1
    assert "it is sold out" in done.stderr
    answer = json.loads(done.stderr.partition("Answer: ")[2])
    assert (answer["code"], answer["type"], answer["data"]) == (410, "SOLD_OUT", {"id": 7})
