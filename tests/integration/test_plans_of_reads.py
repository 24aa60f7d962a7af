"""Each read is a window: what it touches is bounded, however full the store is.

The plans are those of a store that is large beside the windows; what their nodes read is counted.
"""

import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from importlib.resources import files

import psycopg
import pytest

from benchmarks.filled import Filled
from dama.store import LogFilter, Store, earlier
from dama.store.archive import MOST_COUNTED
from dama.store.bundles import origin_of
from dama.store.checked import findings
from dama.store.health import read_health
from dama.store.log_page import query
from dama.store.windows import ContextFilter
from tests.conftest import url_of
from tests.integration.planned import Recording, assert_bounded, plans_of_query, touched

FILLED = Filled(closed=30_000, history=25_000, children=21_000, queued=25_000)
LOOK = 20_000
PARKED, ARCHIVED = 12_000, 25_000
FIRST_ARCHIVED = FILLED.newest + 1
BESIDES = f"""
SET session_replication_role = replica;
INSERT INTO _data_manager_admin.subscription (name, lanes) VALUES ('readers', 4);
INSERT INTO _data_manager_admin.subscription_lane (name, lane, position)
  SELECT 'readers', n, {FILLED.positions - 99} FROM generate_series(0, 3) n;
INSERT INTO _data_manager_admin.subscription_parked (name, context_id, lane, position, error)
  SELECT 'readers', {FILLED.newest} - n, n % 4, n, '{{}}' FROM generate_series(1, {PARKED}) n;
INSERT INTO _data_manager_admin.archived_context
  (context_id, root_context_id, task, status, version, epoch, created_at, modified_at, archived_at)
  SELECT n, n, 'new.task', 'DONE', 1, 1, now(), now(), now()
    FROM generate_series({FIRST_ARCHIVED}, {FIRST_ARCHIVED + ARCHIVED}) n;
INSERT INTO _data_manager_admin.archived_event
  (event_id, etl_context_id, type, payload, version, created_at, xid)
  SELECT n + {FILLED.positions}, n, 'new.task:FINAL', '{{}}', 1, now(), pg_current_xact_id()
    FROM generate_series({FIRST_ARCHIVED}, {FIRST_ARCHIVED + ARCHIVED}) n;
INSERT INTO _data_manager_admin.event_store_prototype
  (event_id, etl_context_id, type, payload, version)
  SELECT {2 * FILLED.positions + ARCHIVED} + n, n, 'old.task/check:late:DONE', '{{"count": 1}}', 4
    FROM generate_series({FILLED.closed} - 99, {FILLED.closed}) n;
UPDATE _data_manager_admin.etl_context SET version = 4
  WHERE context_id BETWEEN {FILLED.closed} - 99 AND {FILLED.closed};
INSERT INTO _data_manager_admin.worker
  (host, boot_id, pid, pid_started, version, queues, labels, slots, lease_until)
  SELECT 'h' || n, 'b', n, '1', '0', '{{default}}', '{{}}', 4, now() + interval '1 hour'
    FROM generate_series(1, 20) n;
INSERT INTO _data_manager_admin.activity_count (at, outcome, bucket, count)
  SELECT _data_manager_admin.four_minutes(now()) - n * interval '4 minutes', 'done', b, 9
    FROM generate_series(0, 2880) n, generate_series(1, 10) b;
INSERT INTO _data_manager_admin.queue_sample (at, queue, queued, running, age)
  SELECT _data_manager_admin.four_minutes(now()) - n * interval '4 minutes', 'q' || q, 1, 1, 1
    FROM generate_series(1, 2880) n, generate_series(1, 10) q;
INSERT INTO _data_manager_admin.activity_state VALUES (1);
INSERT INTO _data_manager_admin.slice_build (slice, slice_version, state) VALUES ('s', 1, 'shown');
INSERT INTO _data_manager_admin.slice_row (build, context_id, version, event_id, folded)
  SELECT 1, n, 1, n, '{{}}' FROM generate_series(1, {ARCHIVED}) n;
INSERT INTO _data_manager_admin.subscription (name, lanes) VALUES ('slice s (1)', 1);
INSERT INTO _data_manager_admin.subscription_lane (name, lane, position)
  SELECT 'slice s (1)', 0, {FILLED.positions - 99};
"""  # noqa: S608 - numbers of our own


@pytest.fixture(scope="module")
def filled_url(server, template) -> Iterator[str]:
    """A database that is filled once: nothing here writes to it but caches."""
    with psycopg.connect(server.url, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE filled TEMPLATE {template}")
        url = url_of(server, "filled", "dama")
        FILLED.fill(url)
        with psycopg.connect(url, autocommit=True) as own:
            own.execute(BESIDES, prepare=False)
            own.execute("VACUUM ANALYZE")
        yield url
        connection.execute("DROP DATABASE filled WITH (FORCE)")


@pytest.fixture
async def filled(filled_url) -> AsyncIterator[Store]:
    """Its store."""
    async with Recording.opened(filled_url) as database:
        yield Store(database)


LONG_AGO, LATER = datetime(2001, 1, 1, tzinfo=UTC), datetime(2101, 1, 1, tzinfo=UTC)
CONTEXTS = {
    "all": {},
    "subtasks too": {"roots": False},
    "an unknown task": {"task": "typo.task"},
    "an unknown task, subtasks too": {"task": "typo.task", "roots": False},
    "the rarest task": {"task": "old.rare"},
    "a pattern of tasks": {"task": "old.*"},
    "a pattern that nothing fits": {"task": "*.typo"},
    "a pattern with a status": {"task": "old.*", "status": "OPEN"},
    "a pattern of a queue": {"task": "new.*", "queue": "seldom"},
    "a task of subtasks only": {"task": "wide.part"},
    "a status that nothing has": {"status": "CANCELLED"},
    "a common status": {"status": "DONE"},
    "the open ones": {"status": "OPEN"},
    "a task with a status that it never has": {"task": "old.task", "status": "OPEN"},
    "a task that failed long ago": {"task": "old.task", "status": "ERROR"},
    "a task that is never done": {"task": "new.task", "status": "DONE"},
    "an unknown service": {"service": "typo"},
    "an unknown user": {"user": "nobody"},
    "an unknown user of a status": {"user": "nobody", "status": "OPEN"},
    "an unknown user of a task": {"user": "nobody", "task": "old.task"},
    "an unknown schedule": {"schedule": "never"},
    "params that nothing has": {"params": {"year": 1}},
    "params of a task": {"params": {"year": 1}, "task": "new.task"},
    "params that are nested": {"params": {"a": {"b": [1]}}},
    "a state": {"state": "waiting"},
    "a state that nothing is in": {"state": "blocked"},
    "a queue": {"queue": "seldom"},
    "an unknown queue": {"queue": "typo"},
    "a state of a queue": {"queue": "seldom", "state": "blocked"},
    "an unknown worker": {"worker": 99},
    "of the future": {"since": LATER},
    "of long ago": {"until": LONG_AGO},
    "all at once": {
        "task": "old.task", "status": "DONE", "service": "old", "user": "nobody",
        "schedule": "never", "params": {"year": 1}, "since": LONG_AGO, "until": LATER,
        "state": "queued", "queue": "default", "worker": 99,
    },
}  # fmt: skip


@pytest.mark.parametrize("fits", CONTEXTS.values(), ids=CONTEXTS.keys())
async def test_a_list_of_contexts_looks_at_a_window(filled, filled_url, fits):
    """With any filter, also one that nothing fits."""
    chosen = ContextFilter(**fits)

    await assert_bounded(filled_url, filled, lambda s: s.windows.contexts(chosen), LOOK)


@pytest.mark.parametrize("limit", [7, 1000])
async def test_a_list_that_is_read_on_is_whole(filled, limit):
    """Windows overlap nowhere and leave nothing out, also those in which nothing fits."""
    chosen = ContextFilter(params={"year": 2013}, status="ERROR", roots=False)
    rare = ContextFilter(task="old.rare", params={"year": 2013})

    assert await read_on(filled, chosen, limit) == list(range(50, 0, -1))
    assert await read_on(filled, rare, limit) == [5, 4, 3, 2, 1]


async def test_what_is_found_late_is_behind_windows_that_are_empty(filled):
    """They say where to look on."""
    page = await filled.windows.contexts(ContextFilter(service="old", until=LATER), limit=10)

    assert page.contexts == []
    assert page.next_before == FILLED.newest - LOOK + 1
    assert await read_on(filled, ContextFilter(params={"year": 1}), 10) == [
        FILLED.root + FILLED.children + 1
    ]


async def read_on(store: Store, chosen: ContextFilter, limit: int) -> list[int]:
    """All that fits, window after window."""
    found: list[int] = []
    before: int | None = None
    while True:
        page = await store.windows.contexts(chosen, before=before, limit=limit)
        assert len(page.contexts) <= limit
        found += [row.context_id for row in page.contexts]
        if page.next_before is None:
            return found
        assert before is None or page.next_before < before
        before = page.next_before


FIRST_OF_LONG = 3 * FILLED.closed + 1
LATE = FIRST_OF_LONG + FILLED.history - 9


async def marks_of(store: Store, *ids: int) -> object:
    return await store.windows.marks([await store.context(each) for each in ids], 1000)


READS: dict[str, tuple[Callable[[Store], Awaitable[object]], int]] = {
    "a page of events": (lambda s: s.events(FILLED.long, limit=1000), 1000),
    "a late page of events": (
        lambda s: s.events(FILLED.long, after_version=FILLED.history - 9, limit=1000), 1000,
    ),
    "the beginnings of histories": (
        lambda s: asked(
            s, "read_histories", context_ids=[9, FILLED.long, 1], versions=[3, 900, 3], types=None
        ), 906,
    ),
    "events that fit": (lambda s: found_in(s, "long%"), LOOK),
    "marks among events": (lambda s: found_in(s, None, marks=True), LOOK),
    "events of a type that nothing has": (lambda s: found_in(s, "typo"), LOOK),
    "the log": (lambda s: s.log.read(0), LOOK),
    "a type that nothing has": (lambda s: s.log.read(0, LogFilter(types=("typo",))), LOOK),
    "a prefix that nothing has": (lambda s: s.log.read(9, LogFilter(prefix="typo")), LOOK),
    "a tree in the log": (lambda s: s.log.read(0, LogFilter(root=FILLED.root)), LOOK),
    "a context in the log": (lambda s: s.log.read(0, LogFilter(context=FILLED.long)), LOOK),
    "the end of a context in the log": (
        lambda s: s.log.read(LATE, LogFilter(context=FILLED.long)), 99,
    ),
    "a type in a context": (
        lambda s: s.log.read(0, LogFilter(context=FILLED.long, types=("typo",))), LOOK,
    ),
    "firings that started nothing": (
        lambda s: asked(s, "find_firings", name="nightly", keys=["a", "b"]), 9,
    ),
    "adoptions": (lambda s: asked(s, "list_adoptions"), 2),
    "the queues": (lambda s: s.queue.queues(), LOOK),
    "health": (lambda s: read_health(s.database), LOOK),
    "parked contexts": (lambda s: s.log.parked(), 100),
    "one context": (lambda s: s.context(FILLED.long), 20),
    "outcomes": (lambda s: s.outcomes([1, FILLED.long]), 2),
    "a tree": (lambda s: s.tree(FILLED.root + 9, limit=1000), 1000),
    "the end of a tree": (lambda s: s.tree(FILLED.root, after=FILLED.root + 20_999, limit=9), 9),
    "children": (lambda s: s.windows.children(FILLED.root, limit=50), 50),
    "failed children": (lambda s: s.windows.children(FILLED.root, status="ERROR"), LOOK),
    "children by task and status": (lambda s: s.windows.child_counts(FILLED.root), LOOK),
    "children of nobody": (lambda s: s.windows.children(1, status="ERROR"), 1),
    "what runs went through": (lambda s: marks_of(s, FILLED.long, FILLED.root), 9_999),
    "where a run is": (lambda s: s.windows.place(FILLED.newest), 20),
    "how long a task takes": (lambda s: s.windows.usual("old.task", LATE), LOOK),
    "how long a task takes that nothing ran": (lambda s: s.windows.usual("no.task", LATE), LOOK),
    "what checks found": (lambda s: findings(s.database, "long.history", FILLED.long), 1_000),
    "what checks found in many runs": (
        lambda s: findings(s.database, "old.task", FILLED.closed), 99,
    ),
    "who waits": (lambda s: s.queue.workers(), 20),
    "how a context was started": (lambda s: s.started_how(FILLED.long), 1),
    "jobs with too little memory": (
        lambda s: s.placements.memory_losses([FILLED.long, FILLED.root + 9]), 20,
    ),
    "what became of contexts": (lambda s: s.ends([1, FILLED.long]), 2),
    "what became of a tree": (lambda s: s.windows.tree_ends([FILLED.root]), 2),
    "contexts at a position": (lambda s: s.windows.at([1, FILLED.long, FILLED.root], LATE), 99),
    "what is new in a tree": (
        lambda s: s.tree_events(FILLED.root, {FILLED.root: 1}), FILLED.children + 1,
    ),
    "what is new in a small tree": (lambda s: s.tree_events(9, {9: 1}), 3),
    "where it was imported from": (lambda s: origin_of(s.database, FILLED.long), 1),
    "what was forked": (lambda s: s.forks.of(FILLED.long), 2),
    "an event to fork after": (lambda s: s.forks.point(FILLED.long, FIRST_OF_LONG + 9), 4),
    "what comes before a step": (
        lambda s: s.forks.before_step(FILLED.long, "long.history", "step99"), 199,
    ),
    "what comes before a failure": (lambda s: s.forks.before_step(9, "old.task", "typo"), 9),
    "steps after an event": (lambda s: s.forks.steps_after(FILLED.long, 9), 1999),
    "open questions": (lambda s: s.windows.waits(FILLED.long), LOOK),
    "an archived context": (lambda s: asked(s, "is_archived", context_id=FIRST_ARCHIVED), 1),
    "archived events": (
        lambda s: asked(
            s, "read_archived_events", context_id=FIRST_ARCHIVED, after_version=0, limit=1000
        ), 1,
    ),
    "a place in the log": (lambda s: asked(s, "find_position", event_id=LATE), 1),
    "a snapshot": (
        lambda s: asked(s, "read_snapshot", context_id=FILLED.long, slice="s", slice_version=1), 1,
    ),
    "a state near an event": (
        lambda s: asked(
            s, "read_rung", context_id=FILLED.long, slice="s", slice_version=1, event_id=LATE
        ), 2,
    ),
    "the run before": (lambda s: previous(s, "old.task", year=2013), LOOK),
    "the run before, archived": (lambda s: previous(s, "new.task"), LOOK),
    "the run before of params that nothing has": (lambda s: previous(s, "old.task", a=1), LOOK),
    "slices that are tables": (lambda s: s.slice_tables.tables(), LOOK),
    "whether a slice is one": (lambda s: asked(s, "find_slice_build", build=1), 2),
    "some states of a slice": (
        lambda s: asked(s, "read_slice_rows", build=1, context_ids=[1, FILLED.long]), 4,
    ),
    "archived contexts": (lambda s: asked(s, "list_archived_contexts", after=0, limit=100), 100),
    "what stands in the way": (lambda s: s.queue.obstacles(FILLED.newest - 8), LOOK),
    "what stands in the way of a child": (lambda s: s.queue.obstacles(FILLED.root + 9), 99),
    "who waits for whom": (lambda s: s.queue.circles(), LOOK),
    "the circle of a run": (lambda s: s.queue.circle(FILLED.newest), 99),
    "runs without a worker": (lambda s: s.queue.without_worker([FILLED.newest, 1]), 99),
    "the programs of contexts": (lambda s: s.queue.bound_programs([FILLED.newest, 1]), 99),
    "whether a run is that of a token": (
        lambda s: asked(s, "is_running", context_id=FILLED.newest, epoch=1), 1,
    ),
    "the locked ones": (lambda s: s.find_locked([1, FILLED.newest]), 2),
    "subscriptions": (lambda s: s.log.subscriptions(), LOOK),
    "which subscriptions are behind": (lambda s: asked(s, "poll_log"), LOOK),
    "a lane to handle": (lambda s: asked(s, "take_lane", name="readers"), 99),
    "a page for a reader of several": (lambda s: lane(s, 0), LOOK),
    "a late page for a reader of several": (lambda s: lane(s, LATE), LOOK),
    "a context that a reader continues with": (lambda s: lane(s, 0, context=FILLED.long), LOOK),
    "a day of activity": (lambda s: s.activity.counts(a_day_ago(), 720.0), 3620),
    "who wrote tables": (lambda s: s.lineage.writes(["a", "b.c"], 10), 20),
    "a day of queues": (lambda s: s.activity.queues(a_day_ago(), 720.0), 3610),
    "noting what happened": (lambda s: s.activity.note(), LOOK),
    "upkeep": (lambda s: asked(s, "uphold", most=100), LOOK),
}  # fmt: skip


def a_day_ago() -> datetime:
    """When the charts of a day begin."""
    return datetime.now(UTC) - timedelta(days=1)


async def asked(store: Store, statement: str, **params: object) -> None:
    """Ask one statement that others put together."""
    await store.database.rows(statement, params)


async def found_in(store: Store, type_: str | None, *, marks: bool = False) -> object:
    """The latest events of a type in the longest context."""
    last = FILLED.history
    return await store.windows.find_events(
        FILLED.long, last - LOOK + 1, last, type=type_, text=None, failed=False, marks=marks,
        backwards=True, limit=100,
    )  # fmt: skip


async def previous(store: Store, task: str, **params: object) -> None:
    """The last run of a task that has ended."""
    await earlier.find(store.database, [task], 1, params, {}, None)


async def lane(store: Store, after: int, context: int | None = None) -> None:
    """What a reader asks that shares the log with others."""
    params = query(after, LogFilter(context=context), 500, up_to=None)
    await store.database.rows("read_log", {**params, "subscription": "readers", "lane": 1})


@pytest.mark.parametrize(("read", "most"), READS.values(), ids=READS.keys())
async def test_a_read_is_a_window(filled, filled_url, read, most):
    """Whatever there is besides what is asked for."""
    await assert_bounded(filled_url, filled, read, most)


OTHERS = {
    "writes rows by their keys":
        "add_browser_session add_schedule add_token advance_lane advance_parked bind_program "
        "count_request create_subscription end_browser_session fail_schedule fire_schedule "
        "forget_placements forget_requests lead_launcher note_launcher note_placements "
        "note_submissions take_placed unplace_run "
        "begin_slice drop_slice drop_subscription keep_archived show_slice "
        "note_slice_archived write_slice_rows "
        "hand_back_runs keep_act notify_workers park_context park_run register_worker "
        "release_worker remove_browser_session remove_schedule resume_parked retry_run "
        "revoke_token set_queue set_schedule set_trouble start_contexts take_browser_ticket "
        "take_place take_resumed unpark_context write_rungs write_snapshot put_tap_state",
    "writes what it is given, whole":
        "begin_import cancel_trees draw_contexts end_import forget_exported fork_context "
        "import_contexts import_events restore_tree resume_tree",
    "removes a batch": "remove_slice_rows",
    "reads what leaves for a file, whole": "export_contexts export_events",
    "looks at all, and says so": "list_archived list_differences rebuild",
    "places as many as a launcher may, as claim_runs claims them": "place_runs",
    "reads what launchers have placed, as many as they may": "count_placements list_placements",
    "is held in test_plans.py": "append_events claim_runs renew_lease read_waits",
    "is held below":
        "count_closed_trees archive_trees forget_trees list_contexts read_tree_ends",
    "reads one attempt, the catalog, or the latest of a task, which are limited":
        "read_attempts read_columns read_written read_done_of_tasks",
    "reads nothing that grows with the store":
        "find_imported find_neighbours find_workers_of_host list_act_contexts "
        "list_browser_sessions list_due_schedules list_schedules "
        "list_tokens read_browser_session read_clock read_identity read_run_secret read_token "
        "read_tap_state",
}  # fmt: skip


async def test_each_statement_is_held_here_or_has_a_reason(filled):
    """A new one is found by this."""
    filled.database.asked.clear()
    for read, _ in READS.values():
        await read(filled)
    held = {name for name, _ in filled.database.asked}

    there = {
        path.name.removesuffix(".sql") for path in files("dama.store").joinpath("sql").iterdir()
    }

    assert there - held == {name for names in OTHERS.values() for name in names.split()} - held


async def test_closed_trees_are_looked_at_in_windows(filled, filled_url):
    """A count of them is no statement that looks at all."""
    params = {"age": timedelta(days=1), "failed": False, "after": 0}
    filled.database.asked[:] = []

    await assert_bounded(
        filled_url, filled, lambda s: s.database.rows("count_closed_trees", params), LOOK
    )
    count = await filled.archive.closed(timedelta(days=1))

    assert count >= MOST_COUNTED


def test_the_state_after_an_event_is_found_without_a_sort(filled_url):
    """It counts the attempts and steps of the one context, and looks its version up once."""
    query = "SELECT status, version, attempts, steps_done FROM _data_manager_admin.state_at(%s, %s)"
    with psycopg.connect(filled_url, autocommit=True) as connection:
        found = {
            version: connection.execute(
                query, [FILLED.long, FIRST_OF_LONG + version - 1]
            ).fetchone()
            for version in (1, 2, 3, FILLED.history)
        }
    asked = [FILLED.long, FIRST_OF_LONG + FILLED.history // 2]

    assert found == {
        1: ("OPEN", 1, 0, 0),
        2: ("OPEN", 2, 1, 0),
        3: ("OPEN", 3, 1, 1),
        FILLED.history: ("OPEN", FILLED.history, 1, FILLED.history - 2),
    }
    for node in plans_of_query(filled_url, query, asked):
        assert node["Node Type"] != "Sort"
        assert touched(node) <= FILLED.history


async def test_the_log_of_a_context_is_read_on_to_its_end(filled):
    """Each of its events once, whatever lies between them in the log."""
    versions: list[int] = []
    after = 0
    while after < FILLED.positions:
        page = await filled.log.read(after, LogFilter(context=FILLED.long), limit=9_999)
        versions += [event.version for event in page.events]
        assert page.position > after
        after = page.position

    assert versions == list(range(1, FILLED.history + 1))


@pytest.mark.parametrize(("late", "status"), [("DONE", "DONE"), ("OPEN", "OPEN")])
async def test_a_tree_has_ended_when_its_last_window_has(filled, filled_url, late, status):
    """Its root has ended; what is looked at first has, too."""
    last = FILLED.root + FILLED.children
    with changed(filled_url, {FILLED.root: "DONE", last: late}):
        await assert_bounded(filled_url, filled, lambda s: s.windows.tree_ends([FILLED.root]), 1000)
        assert len([name for name, _ in filled.database.asked if name == "read_tree_ends"]) > 2
        ends = await filled.windows.tree_ends([FILLED.root, 2**40])

    ((root, (found, age)),) = ends.items()
    assert (root, found) == (FILLED.root, status)
    assert age >= 0


@contextmanager
def changed(url: str, statuses: dict[int, str]) -> Iterator[None]:
    """Contexts with another status for a while, as no rule would let them be."""
    query = "UPDATE _data_manager_admin.etl_context SET status = %s WHERE context_id = %s"
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("SET session_replication_role = replica")
        ask = "SELECT context_id, status FROM _data_manager_admin.etl_context WHERE context_id = %s"
        before = [connection.execute(ask, [n]).fetchone() for n in statuses]
        for context, status in statuses.items():
            connection.execute(query, [status, context])
        try:
            yield
        finally:
            for context, status in before:
                connection.execute(query, [status, context])


WAITS = {
    3: ("a:WAITING", '{"type": "a"}'), 4: ("b:WAITING", '{"type": "b"}'),
    5: ("sleep:WAITING", '{"until": 1}'), 20_001: ("b:DONE", "{}"),
    20_002: ("c:WAITING", '{"types": ["c"]}'), 20_003: ("d:WAITING", '{"type": "d"}'),
    20_004: ("d:DONE", "{}"),
}  # fmt: skip


async def test_waits_are_found_in_whatever_window_they_end(filled, filled_url):
    """The first of a history is still open; the second was answered in a later window."""
    query = """
UPDATE _data_manager_admin.event_store_prototype SET type = 'long.history/' || %s, payload = %s
  WHERE etl_context_id = %s AND version = %s"""
    with psycopg.connect(filled_url, autocommit=True) as connection:
        connection.execute("SET session_replication_role = replica")
        for n, (name, payload) in WAITS.items():
            connection.execute(query, [name, payload, FILLED.long, n])
        try:
            waits = await filled.windows.waits(FILLED.long)
        finally:
            for n in WAITS:
                before = [f"step{n}:DONE", json.dumps({"rows": n}), FILLED.long, n]
                connection.execute(query, before)

    assert [payload for payload, _ in waits] == [{"type": "a"}, {"types": ["c"]}]


async def test_a_queue_is_counted_up_to_a_bound(filled):
    """And the oldest of it is that of all priorities."""
    rows = {row.queue: row for row in await filled.queue.queues()}

    assert rows["default"].queued == MOST_COUNTED
    assert rows["seldom"].waiting == FILLED.queued // 1000
    assert rows["default"].delayed == FILLED.queued // 10
    first = await filled.context(FILLED.root + FILLED.children + 2)
    assert rows["default"].oldest == first.created_at


async def test_a_tree_and_its_children_are_read_on_to_their_end(filled):
    """In windows; those that failed are found behind one in which none did."""
    ids: list[int] = []
    while page := await filled.tree(FILLED.root + 1, after=max(ids, default=0), limit=9_000):
        ids += [row.context_id for row in page]
    empty = await filled.windows.children(FILLED.root, status="ERROR")
    failed = await filled.windows.children(FILLED.root, status="ERROR", after=empty.next_after)

    last = FILLED.root + FILLED.children
    assert ids == list(range(FILLED.root, last + 1))
    assert empty.contexts == []
    assert [row.context_id for row in failed.contexts] == [last - 2, last - 1, last]
    assert failed.next_after is None
