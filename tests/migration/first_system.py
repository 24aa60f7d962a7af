"""The tables of the first system as it printed them, and its statements."""

import psycopg

TABLES = """
CREATE SCHEMA IF NOT EXISTS _data_manager_admin;
CREATE TABLE _data_manager_admin.etl_context (
  context_id serial PRIMARY KEY,
  parent_id int REFERENCES _data_manager_admin.etl_context ON DELETE CASCADE);
CREATE TABLE _data_manager_admin.event_store_prototype (
  event_id serial PRIMARY KEY,
  etl_context_id int NOT NULL REFERENCES _data_manager_admin.etl_context ON DELETE CASCADE,
  type text NOT NULL, payload jsonb, meta jsonb, error boolean);
"""
# Made by hand, somewhere: no keys, no references, columns that may be empty.
BARE = """
CREATE SCHEMA IF NOT EXISTS _data_manager_admin;
CREATE TABLE _data_manager_admin.etl_context (context_id serial, parent_id int);
CREATE TABLE _data_manager_admin.event_store_prototype (
  event_id serial, etl_context_id int, type text, payload jsonb, meta jsonb, error boolean);
"""
SIX = """
SELECT event_id, etl_context_id, type, payload::text, meta::text, error
  FROM _data_manager_admin.event_store_prototype ORDER BY event_id
"""
CONTEXTS = "SELECT context_id, parent_id FROM _data_manager_admin.etl_context ORDER BY context_id"
NEW_CONTEXT = """
INSERT INTO _data_manager_admin.etl_context (parent_id) VALUES (%s) RETURNING context_id
"""
NEW_EVENT = """
INSERT INTO _data_manager_admin.event_store_prototype (etl_context_id, type, payload, meta, error)
  VALUES (%s, %s, %s, %s, %s) RETURNING event_id
"""
ROWS = """
INSERT INTO _data_manager_admin.etl_context (parent_id)
  SELECT CASE WHEN i % 5 <> 1 THEN i - (i - 1) % 5 END FROM generate_series(1, {contexts}) i;
INSERT INTO _data_manager_admin.event_store_prototype (etl_context_id, type, payload, meta)
  SELECT c,
         CASE e WHEN 1 THEN 'etl.load:INITIAL' WHEN {events} THEN 'etl.load:FINAL' ELSE ':STEP' END,
         jsonb_build_object('step', e),
         jsonb_build_object('timestamp', '2022-03-04T05:06:07.' || e % 10 || '00Z')
    FROM generate_series(1, {events}) e, generate_series(1, {contexts}) c;
"""


def fill(url, contexts, events):
    """Make the tables, with so many contexts in trees of five, of so many events each."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(TABLES)
        connection.execute(ROWS.format(contexts=contexts, events=events).encode())


def rows(url, query):
    """What a query returns."""
    with psycopg.connect(url) as connection:
        return connection.execute(query).fetchall()


def run_once(connection, parent=None):
    """What a task of the first system does: a context and the events of its life."""
    (context,) = connection.execute(NEW_CONTEXT, [parent]).fetchone()
    connection.execute(NEW_EVENT, [context, "etl.old:INITIAL", '{"a": 1}', "{}", None])
    for step in ("etl.old:STEP", "etl.old:ERROR", "etl.old:STEP"):
        error = step.endswith("ERROR") or None
        payload = '{"message": "x"}' if error else None
        connection.execute(NEW_EVENT, [context, step, payload, None, error])
    connection.execute(NEW_EVENT, [context, "etl.old:FINAL", "0", None, False])
    return context
