"""The archive: closed trees leave whole and come back whole."""

from datetime import timedelta

import psycopg
import pytest

from dama.domain.event import Event
from dama.store import Append, Start
from dama.store.errors import IdempotencyConflictError, UnknownContextError

NOW = timedelta(0)
AGE = timedelta(days=90)
AGED = """
SET dama.rewrite_history = 'on'; SET dama.appending = 'on';
UPDATE _data_manager_admin.etl_context SET modified_at = modified_at - interval '91 days'
"""


async def end(store, *contexts, type_="a.b:FINAL"):
    """Write the end of contexts."""
    body = {"error": True} if type_.endswith("ERROR") else {}
    await store.append_many([Append(c, Event(type_, {"message": "m"}, **body)) for c in contexts])


async def archived(store, age=NOW, **options):
    """Archive; returns how many contexts and events went."""
    parts = [part async for part in store.archive.add(age, **options)]
    return sum(part.contexts for part in parts), sum(part.events for part in parts)


@pytest.fixture
async def tree(store):
    """A closed tree of a root and two children; returns their contexts."""
    (root,) = await store.start([Start("a.b", {}, key="once")])
    children = await store.start([Start("a.b", {})] * 2, parent=root)
    await end(store, *children)
    await end(store, root)
    return [root, *children]


async def test_what_was_archived_before_anybody_looked_is_an_outcome(store, tree):
    """A waiter that comes late learns how it ended; after it was forgotten, that it has."""
    (failed, still_open) = await store.start([Start("a.b", {})] * 2)
    await end(store, failed, type_="a.b:ERROR")
    before = await store.outcomes([*tree, failed])

    await archived(store, failed=True)
    assert await store.outcomes([*tree, failed, still_open]) == before
    assert len(before) == 4

    async for _ in store.archive.forget(NOW):
        pass
    found = await store.outcomes([*tree, failed, still_open, 10**9])
    assert {outcome.error["name"] for outcome in found.values()} == {"ForgottenError"}
    assert set(found) == {*tree, failed}


async def test_a_closed_tree_leaves_and_comes_back_as_it_was(store, tree):
    """Events, versions, ids and positions; meanwhile the error says where it is."""
    before = [await store.context(context) for context in tree]
    events = [await store.events(context) for context in tree]
    log = (await store.log.position(), await store.log.read())[1].events

    assert await archived(store) == (3, 6)
    assert await store.contexts(roots_only=False) == []
    assert (await store.log.read()).events == []
    for read in (store.context, store.tree):
        with pytest.raises(UnknownContextError, match="is archived since"):
            await read(tree[1])

    assert await store.archive.restore(tree[1]) == 3
    assert [await store.context(context) for context in tree] == before
    assert [await store.events(context) for context in tree] == events
    assert (await store.log.position(), await store.log.read())[1].events == log


async def test_a_tree_stays_while_something_in_it_is_open(store, tree):
    """However its root has ended."""
    (root,) = await store.start([Start("a.b", {})])
    await store.start([Start("a.b", {})], parent=root)
    await end(store, root)

    assert await archived(store) == (3, 6)
    assert [row.context_id for row in await store.contexts()] == [root]


async def test_what_failed_stays_unless_it_is_asked_for(store):
    """It could be resumed."""
    (root,) = await store.start([Start("a.b", {})])
    await end(store, root, type_="a.b:ERROR")

    assert await archived(store) == (0, 0)
    assert await store.archive.closed(NOW, failed=True) == 1
    assert await archived(store, failed=True) == (1, 2)


async def test_only_what_is_old_enough_leaves(store, tree, database_url):
    """By the last event of the whole tree."""
    assert await archived(store, AGE) == (0, 0)
    with psycopg.connect(database_url) as connection:
        connection.execute(AGED)

    assert await archived(store, AGE) == (3, 6)


async def test_a_tree_stays_until_every_subscription_has_handled_it(store, tree):
    """An event that left would never be handled."""

    async def handle(connection, event):
        await connection.execute("SELECT 1")

    subscription = store.log.subscription("mailer", handle)
    await subscription.catch_up()
    await end(store, *await store.start([Start("a.b", {})]))

    assert await archived(store) == (3, 6)
    assert len(await store.contexts()) == 1


async def test_an_archived_key_is_free_again(store, tree):
    """A second start with it gives a new context."""
    assert await store.start([Start("a.b", {}, key="once")]) == tree[:1]
    await archived(store)

    assert await store.start([Start("a.b", {}, key="once")]) != tree[:1]


async def test_what_is_forgotten_is_gone(store, tree):
    """Only from the archive, and by the time that it has been there."""
    await archived(store)
    assert [part async for part in store.archive.forget(AGE)] == []

    (part,) = [part async for part in store.archive.forget(NOW)]

    assert (part.contexts, part.events) == (3, 6)
    with pytest.raises(UnknownContextError, match="is not archived"):
        await store.archive.restore(tree[0])


async def test_the_log_has_no_rows_of_what_is_forgotten(store, database_url, tree):
    """The other positions stay what they are, and later events come after them."""
    (kept,) = await store.start([Start("a.b", {})])
    before = await store.log.position()
    await archived(store)
    [part async for part in store.archive.forget(NOW)]
    (later,) = await store.start([Start("a.b", {})])
    after = await store.log.position()

    with psycopg.connect(database_url) as connection:
        rows = connection.execute(
            "SELECT position FROM _data_manager_admin.event_log ORDER BY 1"
        ).fetchall()
    assert rows == [(before,), (after,)]
    assert after == before + 1
    assert [e.context_id for e in (await store.log.read()).events] == [kept, later]


async def test_many_trees_leave_in_parts(store):
    """Each in a transaction of its own."""
    contexts = await store.start([Start("a.b", {})] * 250)
    await end(store, *contexts)

    parts = [part.contexts async for part in store.archive.add(NOW)]

    assert parts == [100, 100, 50]


async def test_a_tree_that_is_archived_early_keeps_its_place_in_the_log(store):
    """Nobody had read the log yet; events that were never placed would be lost to readers."""
    (root,) = await store.start([Start("a.b", {})])
    await end(store, root)

    await archived(store)
    await store.start([Start("a.b", {})])
    assert await store.log.position() == 3
    await store.archive.restore(root)

    assert [event.position for event in (await store.log.read()).events] == [1, 2, 3]


async def test_what_has_no_position_comes_back_as_new(store, database_url, tree):
    """As after an archive that an earlier version made: the log finds it behind the others."""
    await archived(store)
    with psycopg.connect(database_url) as connection:
        connection.execute("SET dama.rewrite_history = 'on'")
        connection.execute("DELETE FROM _data_manager_admin.event_log WHERE event_id > 4")

    await store.archive.restore(tree[0])

    assert await store.log.position() == 8
    events = (await store.log.read()).events
    assert [event.position for event in events] == [1, 2, 3, 4, 7, 8]


async def test_a_key_that_was_given_again_is_not_taken_back(store, tree):
    """The error names both contexts; what is archived stays there, until the other is as well."""
    await archived(store)
    (other,) = await store.start([Start("a.b", {}, key="once")])

    with pytest.raises(IdempotencyConflictError, match=f"once is that of context {other}") as error:
        await store.archive.restore(tree[0])
    assert "archived_event" in (error.value.hint or "")

    await end(store, other)
    await archived(store)
    assert await store.archive.restore(tree[0]) == 3


async def test_open_trees_do_not_end_the_archiving(store):
    """What comes behind them is found, whatever is in between."""
    contexts = await store.start([Start("a.b", {})] * 500)
    await end(store, *contexts[:50], *contexts[350:])

    assert await archived(store) == (200, 400)
    assert len(await store.contexts(limit=999)) == 300
