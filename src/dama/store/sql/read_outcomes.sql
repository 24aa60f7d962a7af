-- read_outcomes: which of these contexts have ended, and how. One that was archived, or even removed for good,
-- before anybody looked has ended too.
-- In:    context_ids bigint[]
-- Out:   context_id, status, has_payload, payload text (JSON) of each that has ended
-- Locks: none
SELECT c.context_id, c.status, e.payload IS NOT NULL, e.payload::text
  FROM _data_manager_admin.etl_context c
  JOIN _data_manager_admin.event_store_prototype e ON e.event_id = c.latest_event_id
  WHERE c.context_id = ANY (%(context_ids)s::bigint[]) AND c.status <> 'OPEN'
UNION ALL
SELECT a.context_id, a.status, e.payload IS NOT NULL, e.payload::text
  FROM _data_manager_admin.archived_context a
  JOIN _data_manager_admin.archived_event e ON e.etl_context_id = a.context_id AND e.version = a.version
  WHERE a.context_id = ANY (%(context_ids)s::bigint[])
UNION ALL
SELECT w.context_id, 'ERROR', TRUE, '{"name": "ForgottenError", "message": "It was archived and then removed for good, and its outcome with it."}'
  FROM unnest(%(context_ids)s::bigint[]) w (context_id)
  WHERE NOT EXISTS (SELECT FROM _data_manager_admin.etl_context c WHERE c.context_id = w.context_id)
    AND NOT EXISTS (SELECT FROM _data_manager_admin.archived_context a WHERE a.context_id = w.context_id)
    AND w.context_id BETWEEN 1 AND _data_manager_admin.last_drawn('_data_manager_admin.etl_context_context_id_seq')
