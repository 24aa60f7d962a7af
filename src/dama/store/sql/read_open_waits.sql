-- read_open_waits: the waits for events that have begun in a context and not ended, the oldest first.
-- In:    context_id bigint
-- Out:   payload jsonb of their beginning; created_at
-- Locks: none
WITH found AS MATERIALIZED (
  SELECT e.type, e.payload, e.created_at, e.version
    FROM _data_manager_admin.event_store_prototype e
    WHERE e.etl_context_id = %(context_id)s::bigint AND e.type ~ '[.].*/.*:(WAITING|DONE)$')
SELECT b.payload, b.created_at
  FROM found b LEFT JOIN found d ON d.type = left(b.type, -length('WAITING')) || 'DONE'
  WHERE b.type LIKE '%%:WAITING' AND (b.payload ? 'type' OR b.payload ? 'types') AND d.version IS NULL
  ORDER BY b.version
