-- read_tree_ends: how long ago something happened in a tree, in a window of its contexts.
-- In:    root bigint; after bigint: the window begins behind this context
-- Out:   is_open (something in the window has not ended), seconds since the last event of the window; the last
--        context of it, NULL where the tree ends; nothing for a tree that is archived
-- Locks: none
-- 1,000 contexts are looked at, at most.
WITH near AS MATERIALIZED (
  SELECT c.* FROM _data_manager_admin.etl_context c
    -- As a range of the index: an equality would leave the planner the choice of that of all ids.
    WHERE (c.root_context_id, c.context_id) > (%(root)s::bigint, %(after)s::bigint)
      AND c.root_context_id <= %(root)s::bigint
    ORDER BY c.root_context_id, c.context_id LIMIT 1000)
SELECT bool_or(n.status = 'OPEN'),
       extract(epoch FROM clock_timestamp() - max(e.created_at))::double precision,
       (SELECT l.context_id FROM near l ORDER BY l.context_id OFFSET 999 LIMIT 1)
  FROM near n
  CROSS JOIN LATERAL (
    SELECT v.created_at FROM _data_manager_admin.event_store_prototype v
      WHERE v.event_id = n.latest_event_id OFFSET 0) e
  HAVING count(*) > 0
