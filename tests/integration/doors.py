"""The three doors of each verb: the command line, the actions, HTTP; on one database."""

import asyncio
import re
from contextlib import asynccontextmanager
from pathlib import Path

from dama.app import App
from dama.cli import main
from dama.definitions.registry import Registry
from dama.domain.schedule import Schedule
from dama.operations import schedules
from dama.shipped.node import node_of
from dama.store import Start

from .served import project, served


@asynccontextmanager
async def doors_of(store, home, monkeypatch, capsys, url, *, keeper=None):
    """The three of them, with an open and an ended context and a schedule.

    Args:
        store: What the actions and HTTP work on.
        home: The folder of the project.
        monkeypatch: That of the test.
        capsys: That of the test.
        url: What the commands work on.
        keeper: Who makes what is there, if the role of `store` may not.
    """
    for name, value in {
        "DAMA_DATABASE_URL": url, "DAMA_HOME": str(home), "DAMA_SHORT": "abc",
        "DAMA_LEAKED": "hunter2-hunter2",
        "PYTHONPATH": str(Path(__file__).parents[2]),
    }.items():  # fmt: skip
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(home)
    (home / "dama.toml").write_text('services = ["tests.integration.shop"]\n')
    keeper = keeper or store
    still_open, done = await keeper.start([Start("shop.approval", {})] * 2)
    await keeper.cancel([done], "no", {})
    registry = Registry([project()])
    nightly = Schedule("nightly", "shop.approval", "0 4 * * *")
    await schedules.add(App(keeper, registry, home), nightly)
    async with (
        served(store, home, working=False) as client,
        node_of(App(store, registry, home), {}, "") as node,
    ):
        ids = {"open": still_open, "done": done}
        yield Doors(client, await node.broker(), capsys, ids)


class Doors:
    def __init__(self, client, broker, capsys, ids):
        self.client, self.broker, self.capsys, self.ids = client, broker, capsys, ids

    def named(self, value):
        """The value with the ids of the contexts in it, as numbers where they stand alone."""
        if isinstance(value, dict):
            return {key: self.named(each) for key, each in value.items()}
        if isinstance(value, list | tuple):
            return [self.named(each) for each in value]
        if isinstance(value, str) and (alone := re.fullmatch(r"\{(\w+)\}", value)):
            return self.ids[alone[1]]
        if isinstance(value, str):
            return re.sub(r"\{(open|done|first|tree)\}", lambda m: str(self.ids[m[1]]), value)
        return value

    async def command(self, arguments):
        """What a command prints, what it says on standard error, and its exit code."""
        self.capsys.readouterr()
        code = await asyncio.to_thread(main, [str(self.named(each)) for each in arguments])
        printed = self.capsys.readouterr()
        return printed.out, printed.err, code

    async def request(self, method, path, body=None):
        return await self.client.request(method, self.named(path), json=self.named(body))
