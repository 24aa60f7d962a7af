-- later_named: the contexts that the next events of the later generation name; some may have no row of their own.
-- In:    :after, :most
-- Out:   their ids
-- Locks: none
SELECT DISTINCT b.etl_context_id::bigint AS id
  FROM (SELECT e.etl_context_id FROM data_manager.event_store e WHERE e.event_id > :after ORDER BY e.event_id LIMIT :most) b
