-- place_contexts: a batch of contexts gets what its events say.
-- In:    :after, :most
-- Out:   the last context of the batch, and how many there were; NULL at the end
-- Locks: the rows of these contexts; who inserts children or events does not wait for them
WITH batch AS MATERIALIZED (
  SELECT s.* FROM _data_manager_admin.adoption_context s WHERE s.context_id > :after ORDER BY s.context_id LIMIT :most),
span AS (SELECT max(b.context_id) AS last, count(*) AS count FROM batch b),
placed AS (
  UPDATE _data_manager_admin.etl_context c
    SET root_context_id = b.root, version = coalesce(b.version, 0), initial_event_id = b.first, latest_event_id = b.latest,
        status = b.status, epoch = coalesce(b.epoch, 0),
        created_at = coalesce(b.created_at, c.created_at), modified_at = coalesce(b.modified_at, c.modified_at)
    FROM batch b
    WHERE c.context_id = b.context_id AND c.root_context_id IS NULL)
UPDATE _data_manager_admin.adoption a SET position = x.last
  FROM span x WHERE a.generation = 'first' AND x.last IS NOT NULL RETURNING x.last, x.count
