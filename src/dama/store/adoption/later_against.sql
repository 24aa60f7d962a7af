-- later_against: whether a key comes twice in a context of the old tables, or is longer than an index takes.
-- Out:   a boolean
-- Locks: none
SELECT EXISTS (SELECT FROM data_manager.event_store e WHERE e.meta ? 'idempotency_key'
                 GROUP BY e.etl_context_id, e.meta ->> 'idempotency_key' HAVING count(*) > 1 OR max(octet_length(e.meta ->> 'idempotency_key')) > 1000)
