-- read_start: how a context was started.
-- In:    context_id bigint
-- Out:   the meta of its INITIAL as JSON text or NULL, its idempotency key; no row without an INITIAL
-- Locks: none
SELECT e.meta::text, c.idempotency_key
  FROM _data_manager_admin.etl_context c
  JOIN _data_manager_admin.event_store_prototype e ON e.event_id = c.initial_event_id
  WHERE c.context_id = %(context_id)s::bigint
