-- read_tree_events: what is new in a tree. By versions, not by event ids, which can commit late.
-- In:    context_id bigint (the root); seen_ids, seen_versions bigint[]: what was read of each
-- Out:   event text, as read_events; in the order of their ids
-- Locks: none
SELECT _data_manager_admin.event_json(e)
  FROM _data_manager_admin.etl_context c
  LEFT JOIN unnest(%(seen_ids)s::bigint[], %(seen_versions)s::bigint[]) s (id, version)
    ON s.id = c.context_id
  JOIN _data_manager_admin.event_store_prototype e
    ON e.etl_context_id = c.context_id AND e.version > coalesce(s.version, 0)
  WHERE c.root_context_id = %(context_id)s::bigint AND c.version > coalesce(s.version, 0)
  ORDER BY max(e.event_id) OVER (PARTITION BY e.etl_context_id ORDER BY e.version), e.version
