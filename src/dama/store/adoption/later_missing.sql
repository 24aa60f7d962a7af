-- later_missing: contexts that the next batch of events names, and that have no row in the old table.
-- In:    :after, :most
-- Out:   how many were added
-- Locks: none that a writer of the old tables meets
WITH batch AS MATERIALIZED (
  SELECT e.etl_context_id FROM data_manager.event_store e WHERE e.event_id > :after ORDER BY e.event_id LIMIT :most),
added AS (
  INSERT INTO _data_manager_admin.etl_context (context_id, root_context_id, created_at, modified_at)
  SELECT DISTINCT b.etl_context_id::bigint, b.etl_context_id::bigint, to_timestamp(0), to_timestamp(0) FROM batch b
    WHERE NOT EXISTS (SELECT FROM _data_manager_admin.etl_context c WHERE c.context_id = b.etl_context_id) RETURNING 1)
SELECT count(*) FROM added
