-- number_events: a batch of events gets versions, and the time that they say of themselves.
-- In:    :after, :most
-- Out:   the last event of the batch, and how many there were; NULL at the end
-- Locks: the rows of these events, which nobody else changes
WITH batch AS MATERIALIZED (
  SELECT v.event_id, v.version, v.at FROM _data_manager_admin.adoption_version v
    WHERE v.event_id > :after ORDER BY v.event_id LIMIT :most),
span AS MATERIALIZED (SELECT max(b.event_id) AS last, count(*) AS count FROM batch b),
numbered AS (
  UPDATE _data_manager_admin.event_store_prototype e SET version = b.version, created_at = coalesce(b.at, e.created_at)
    FROM batch b
    WHERE e.event_id = b.event_id AND e.event_id > :after AND e.event_id <= (SELECT x.last FROM span x) AND e.version IS NULL)
UPDATE _data_manager_admin.adoption a SET position = x.last
  FROM span x WHERE a.generation = 'first' AND x.last IS NOT NULL RETURNING x.last, x.count
