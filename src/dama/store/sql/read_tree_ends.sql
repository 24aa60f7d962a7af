-- read_tree_ends: how long ago something happened in whole trees.
-- In:    roots bigint[]
-- Out:   root_context_id, status (OPEN while anything in the tree is, else that of the root), seconds since its last
--        event; nothing for trees that are archived
-- Locks: none
SELECT r.context_id,
       CASE WHEN tree.is_open THEN 'OPEN' ELSE r.status END,
       extract(epoch FROM clock_timestamp() - tree.latest)::double precision
  FROM _data_manager_admin.etl_context r
  CROSS JOIN LATERAL (
    SELECT bool_or(c.status = 'OPEN') AS is_open, max(e.created_at) AS latest
      FROM _data_manager_admin.etl_context c
      JOIN _data_manager_admin.event_store_prototype e ON e.event_id = c.latest_event_id
      WHERE c.root_context_id = r.context_id) tree
  WHERE r.context_id = ANY (%(roots)s::bigint[])
