"""Rows that older writers stored: what the profile refuses today and readers must survive."""

import psycopg

RAW = """
DO $$ BEGIN
  SET LOCAL dama.rewrite_history = 'on';
  INSERT INTO _data_manager_admin.event_store_prototype
      (etl_context_id, type, payload, meta, version)
    SELECT context_id, '{type}', {payload}, {meta}, version + 1
      FROM _data_manager_admin.etl_context WHERE context_id = {context};
  UPDATE _data_manager_admin.etl_context c
    SET version = e.version, latest_event_id = e.event_id,
        initial_event_id = coalesce(c.initial_event_id, e.event_id),
        status = _data_manager_admin.status_after(e.type)
    FROM _data_manager_admin.event_store_prototype e
    WHERE c.context_id = {context} AND e.etl_context_id = {context} AND e.version = c.version + 1;
END $$
"""


def store_row(url, context, type_, payload, meta="NULL"):
    """Store an event as a restore does it, past all rules; payload and meta are SQL."""
    with psycopg.connect(url, autocommit=True) as connection:
        statement = RAW.format(context=context, type=type_, payload=payload, meta=meta)
        connection.execute(statement.encode())


def nested(levels):
    """SQL of so many arrays within each other."""
    return f"(repeat('[', {levels}) || repeat(']', {levels}))::jsonb"


def digits(count):
    """SQL of an object with a number of so many digits."""
    return f"('{{\"n\": ' || repeat('9', {count}) || '}}')::jsonb"
