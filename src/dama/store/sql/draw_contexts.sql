-- draw_contexts: ids for new contexts, and the right to import them, to the end of the transaction.
-- In:    count int
-- Out:   context_id of each, rising
-- Locks: who imports takes turns
WITH turn AS MATERIALIZED (SELECT pg_advisory_xact_lock(1953653093, -1), _data_manager_admin.be_owner())
SELECT nextval('_data_manager_admin.etl_context_context_id_seq') FROM turn, generate_series(1, %(count)s::int) ORDER BY 1
