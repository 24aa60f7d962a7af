-- read_outcomes: which of these contexts have ended, and how.
-- In:    context_ids bigint[]
-- Out:   context_id, status, has_payload, payload text (JSON) of each that has ended
-- Locks: none
SELECT c.context_id, c.status, e.payload IS NOT NULL, e.payload::text
  FROM _data_manager_admin.etl_context c
  JOIN _data_manager_admin.event_store_prototype e ON e.event_id = c.latest_event_id
  WHERE c.context_id = ANY (%(context_ids)s::bigint[]) AND c.status <> 'OPEN'
