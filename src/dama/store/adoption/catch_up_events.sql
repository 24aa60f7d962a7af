-- catch_up_events: events that were written meanwhile get versions, and their contexts follow.
-- In:    :most
-- Locks: the rows of these events, which nobody else changes, and of their contexts
WITH fresh AS MATERIALIZED (
  SELECT e.event_id, e.etl_context_id FROM _data_manager_admin.event_store_prototype e
    WHERE e.version IS NULL ORDER BY e.etl_context_id, e.event_id LIMIT :most),
base AS MATERIALIZED (
  SELECT f.etl_context_id, coalesce((
      SELECT o.version FROM _data_manager_admin.event_store_prototype o
        WHERE o.etl_context_id = f.etl_context_id AND o.version > 0 ORDER BY o.version DESC LIMIT 1), 0) AS version
    FROM (SELECT DISTINCT d.etl_context_id FROM fresh d) f),
places AS MATERIALIZED (
  SELECT f.event_id, b.version + row_number() OVER (PARTITION BY f.etl_context_id ORDER BY f.event_id) AS version
    FROM fresh f JOIN base b USING (etl_context_id)),
numbered AS (
  UPDATE _data_manager_admin.event_store_prototype e SET version = p.version
    FROM places p WHERE e.event_id = p.event_id
    RETURNING e.etl_context_id, e.event_id, e.version, e.type, e.created_at),
latest AS (
  SELECT DISTINCT ON (n.etl_context_id) n.etl_context_id, n.event_id, n.version, n.type, n.created_at,
         min(n.event_id) OVER (PARTITION BY n.etl_context_id) AS first
    FROM numbered n ORDER BY n.etl_context_id, n.version DESC)
UPDATE _data_manager_admin.etl_context c
  SET version = l.version, status = _data_manager_admin.status_after(l.type), latest_event_id = l.event_id,
      initial_event_id = coalesce(c.initial_event_id, l.first), modified_at = l.created_at
  FROM latest l WHERE c.context_id = l.etl_context_id
