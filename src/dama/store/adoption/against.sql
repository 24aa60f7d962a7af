-- against: whether history has what the second wall refuses: two INITIAL, two FINAL, or a key twice in one context.
-- Out:   a boolean
-- Locks: none
SELECT EXISTS (SELECT FROM _data_manager_admin.event_store_prototype e WHERE e.type LIKE '%:INITIAL' GROUP BY e.etl_context_id HAVING count(*) > 1)
    OR EXISTS (SELECT FROM _data_manager_admin.event_store_prototype e WHERE e.type LIKE '%:FINAL' GROUP BY e.etl_context_id HAVING count(*) > 1)
    OR EXISTS (SELECT FROM _data_manager_admin.event_store_prototype e WHERE e.meta ? 'idempotency_key'
                 GROUP BY e.etl_context_id, e.meta ->> 'idempotency_key' HAVING count(*) > 1 OR max(octet_length(e.meta ->> 'idempotency_key')) > 1000)
