-- list_differences: where contexts are not what their events say. One snapshot: workers may continue.
-- In:    limit int
-- Out:   context_id, column, stored, derived; by context
-- Locks: none
SELECT c.context_id, v.name, v.stored, v.derived
  FROM _data_manager_admin.etl_context c
  JOIN _data_manager_admin.derived_contexts() d USING (context_id)
  CROSS JOIN LATERAL (VALUES
    ('root_context_id', c.root_context_id::text, d.root_context_id::text),
    ('version', c.version::text, d.version::text),
    ('initial_event_id', c.initial_event_id::text, d.initial_event_id::text),
    ('latest_event_id', c.latest_event_id::text, d.latest_event_id::text),
    ('status', c.status, d.status),
    ('epoch', c.epoch::text, d.epoch::text),
    ('idempotency_key', c.idempotency_key, d.idempotency_key)) v (name, stored, derived)
  WHERE v.stored IS DISTINCT FROM v.derived
  ORDER BY 1, 2 LIMIT %(limit)s::int
