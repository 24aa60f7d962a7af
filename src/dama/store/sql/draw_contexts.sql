-- draw_contexts: ids for new contexts.
-- In:    count int
-- Out:   context_id of each, rising
-- Locks: none
SELECT nextval('_data_manager_admin.etl_context_context_id_seq') FROM generate_series(1, %(count)s::int) ORDER BY 1
