-- read_ends: how long ago something happened in contexts.
-- In:    context_ids bigint[]
-- Out:   context_id, status, seconds since its last event; nothing for contexts that are archived
-- Locks: none
SELECT c.context_id, c.status, extract(epoch FROM clock_timestamp() - e.created_at)::double precision
  FROM _data_manager_admin.etl_context c
  JOIN _data_manager_admin.event_store_prototype e ON e.event_id = c.latest_event_id
  WHERE c.context_id = ANY (%(context_ids)s::bigint[])
