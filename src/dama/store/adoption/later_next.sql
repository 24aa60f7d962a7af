-- later_next: the next contexts of the later generation.
-- In:    :after, :most
-- Out:   their ids
-- Locks: none
SELECT o.etl_context_id::bigint AS id FROM data_manager.etl_contexts o WHERE o.etl_context_id > :after ORDER BY 1 LIMIT :most
