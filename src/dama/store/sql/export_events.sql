-- export_events: the events of the contexts of export_contexts, one JSON object each, tree by tree.
-- In:    given bigint[]; here text; plainly boolean
-- Out:   line text; in a tree by ids, those of a context in the order of their versions
-- Locks: none
SELECT _data_manager_admin.exported_event(x.n, e.event_id, e.version, e.type, e.payload, e.meta, e.error, e.created_at, x.is_whole, x.database)
  FROM _data_manager_admin.exported_contexts(%(given)s::bigint[], %(here)s::text, %(plainly)s::boolean) x
  CROSS JOIN LATERAL _data_manager_admin.events_anywhere(x.context_id, x.upto) e
  ORDER BY x.top, max(e.event_id) OVER (PARTITION BY x.context_id ORDER BY e.version), e.version
