"""What statements touch: their plans, executed, with the rows that each node of them met."""

import json
from collections.abc import Awaitable, Callable, Iterator
from importlib.resources import files

import psycopg

from dama.store import Store, session
from dama.store.database import Database

EXPLAIN = """
LOAD 'auto_explain';
SET auto_explain.log_min_duration = 0;
SET auto_explain.log_nested_statements = on;
SET auto_explain.log_analyze = on;
SET auto_explain.log_timing = off;
SET auto_explain.log_format = json;
SET client_min_messages = log;
"""
GROWING = {
    "activity_count", "queue_sample",
    "etl_context", "event_store_prototype", "event_log", "run_queue",
    "archived_context", "archived_event", "subscription_parked",
}  # fmt: skip

# What a role, a database or a server may say.
SWITCHES = (
    "SET enable_nestloop = off",
    "SET enable_sort = off; SET enable_material = off; SET enable_memoize = off",
    "SET enable_indexonlyscan = off",
    "SET join_collapse_limit = 1; SET from_collapse_limit = 1; SET geqo_threshold = 2",
    "SET plan_cache_mode = force_custom_plan",
    "SET effective_cache_size = '8kB'; SET work_mem = '64kB'; SET cursor_tuple_fraction = 1",
    "SET effective_cache_size = '1TB'; SET work_mem = '1GB'; SET cursor_tuple_fraction = 0",
    "SET random_page_cost = 1000; SET seq_page_cost = 0.001",
    "SET random_page_cost = 0; SET seq_page_cost = 1000; SET cpu_tuple_cost = 100",
    "SET cpu_index_tuple_cost = 1000; SET cpu_operator_cost = 1000",
    "SET debug_parallel_query = on; SET parallel_setup_cost = 0; SET parallel_tuple_cost = 0",
)


class Recording(Database):
    """A database that remembers what it was asked."""

    def __init__(self, *given: object, **named: object) -> None:
        super().__init__(*given, **named)
        self.asked: list[tuple[str, object]] = []

    async def rows(self, name, params=None, *, again=True):
        """As usual."""
        self.asked.append((name, params))
        return await super().rows(name, params, again=again)


def plans_of(
    url: str, asked: list[tuple[str, object]], mode: str, setting: str = ""
) -> Iterator[dict]:
    """The plans of some statements and of all that their functions execute, with what was read."""
    for name, params in asked:
        query = files("dama.store").joinpath("sql", f"{name}.sql").read_bytes()
        yield from plans_of_query(url, query, params, mode, setting)


def plans_of_query(
    url: str, query: str | bytes, params: object, mode: str = "auto", setting: str = ""
) -> Iterator[dict]:
    """The same of one statement."""
    found: list[dict] = []

    def keep(notice: psycopg.errors.Diagnostic) -> None:
        text = notice.message_primary or ""
        if "plan:" in text:
            found.append(json.loads(text.partition("plan:")[2])["Plan"])

    with psycopg.connect(url, autocommit=True) as connection:
        connection.add_notice_handler(keep)
        connection.execute(setting)
        session.pin_blocking(connection, alone=True)
        connection.execute(EXPLAIN)
        connection.execute(f"SET plan_cache_mode = {mode}")
        with connection.transaction(force_rollback=True):  # what writes is asked again
            connection.execute(query, params, prepare=True)
    yield from (node for plan in found for node in nodes(plan))


def nodes(plan: dict) -> Iterator[dict]:
    """A plan's nodes."""
    yield plan
    for part in plan.get("Plans", []):
        yield from nodes(part)


def touched(node: dict) -> float:
    """How many rows a node met."""
    removed = node.get("Rows Removed by Filter", 0) + node.get("Rows Removed by Index Recheck", 0)
    return (node["Actual Rows"] + removed) * node["Actual Loops"]


async def assert_bounded(
    url: str, store: Store, read: Callable[[Store], Awaitable[object]], most: int
) -> None:
    """No node of a plan scans a table that grows, or meets more rows than `most`."""
    store.database.asked.clear()
    await read(store)

    for mode, setting in [
        ("auto", ""),
        *(("force_generic_plan", each) for each in ("", *SWITCHES)),
    ]:
        for node in plans_of(url, store.database.asked, mode, setting):
            scanned = node["Node Type"] == "Seq Scan" and node.get("Relation Name") in GROWING
            assert not scanned, (setting, json.dumps(node))
            assert touched(node) <= most, (setting, json.dumps(node))
