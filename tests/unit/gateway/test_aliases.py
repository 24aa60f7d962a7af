"""Which action a method and a path mean."""

import pytest

from dama import Broker, Service
from dama.gateway.aliases import Aliases, Match
from dama.gateway.settings import GatewaySettings

SERVED = [
    # A number is an id; a word that is the path of something else is not.
    ("GET", "/api/contexts/7", "contexts.get"),
    ("GET", "/api/contexts/-7", "contexts.get"),
    ("GET", "/api/contexts/whatif", ("POST",)),
    ("POST", "/api/contexts/whatif", "contexts.what_if"),
    ("GET", "/api/contexts/nothing", "contexts.get"),  # which says what an id is
    # The name of an action is a path that is written out.
    ("GET", "/api/contexts/list", "contexts.list"),
    ("POST", "/api/contexts/list", "contexts.list"),
    ("POST", "/api/contexts/what_if", "contexts.what_if"),
    ("GET", "/api/contexts/what_if", "contexts.what_if"),  # whose name takes no GET: 405
    ("POST", "/api/tasks/start", "tasks.start"),
    ("POST", "/api/tasks/etl.load", "tasks.start"),
    # A text may be any word: one that another method has is still one.
    ("GET", "/api/tasks/import", "tasks.get"),
    ("POST", "/api/tasks/import", "tasks.bring"),
    ("DELETE", "/api/tasks/bring", "tasks.remove"),
]


def project() -> list[Service]:
    contexts, tasks = Service("contexts"), Service("tasks")

    @contexts.action(scope="viewer", rest="GET /:context_id")
    async def get(call, context_id: int): ...

    @contexts.action(scope="viewer", rest="GET /")
    async def list(call): ...

    @contexts.action(rest="POST /whatif")
    async def what_if(call): ...

    @tasks.action(rest="POST /:name")
    async def start(call, name: str): ...

    @tasks.action(name="get", scope="viewer", rest="GET /:name")
    async def read(call, name: str): ...

    @tasks.action(rest="POST /import")
    async def bring(call): ...

    @tasks.action(rest="DELETE /:name")
    async def remove(call, name: str): ...

    return [contexts, tasks]


@pytest.fixture
async def aliases():
    async with Broker(project()) as broker:
        yield Aliases(broker.catalog, GatewaySettings())


async def test_what_is_written_out_goes_before_what_a_param_could_be(aliases):
    """Each action is reached by its name, and no other answers for it."""
    for method, path, meant in SERVED:
        found = aliases.find(method, path)
        assert (found.action if isinstance(found, Match) else found) == meant, (method, path)
    assert aliases.methods_by_name("contexts.what_if") == ("POST",)
    assert aliases.methods_by_name("contexts.list") == ("GET", "POST")
