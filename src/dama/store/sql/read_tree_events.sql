-- read_tree_events: a page of what is new in a tree. By versions, not by event ids, which can commit late.
-- In:    context_id bigint (the root); seen_ids, seen_versions bigint[]: what was read of each; limit int
-- Out:   event text: one JSON object a row; by ids, those of a context in the order of their versions
-- Locks: none
-- OFFSET 0, and the root as a range: along indexes, where a join could read all events that there are.
SELECT _data_manager_admin.event_json(e.event)
  FROM (SELECT t.context_id, t.version FROM _data_manager_admin.etl_context t
          WHERE (t.root_context_id, t.context_id) > (%(context_id)s::bigint, 0)
            AND t.root_context_id <= %(context_id)s::bigint
          ORDER BY t.root_context_id, t.context_id OFFSET 0) c
  LEFT JOIN unnest(%(seen_ids)s::bigint[], %(seen_versions)s::bigint[]) s (id, version)
    ON s.id = c.context_id
  CROSS JOIN LATERAL (
    SELECT n AS event, n.event_id, n.etl_context_id, n.version FROM _data_manager_admin.event_store_prototype n
      WHERE n.etl_context_id = c.context_id AND n.version > coalesce(s.version, 0)
      ORDER BY n.version LIMIT %(limit)s::int) e
  WHERE c.version > coalesce(s.version, 0)
  ORDER BY max(e.event_id) OVER (PARTITION BY e.etl_context_id ORDER BY e.version), e.version
  LIMIT %(limit)s::int
