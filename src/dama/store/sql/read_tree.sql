-- read_tree: all contexts of the tree that a context is in.
-- In:    context_id bigint
-- Out:   rows as read_context, oldest first
-- Locks: none
SELECT c.context_id, c.parent_id, c.root_context_id, c.task, c.status, c.version,
       c.created_at, c.modified_at, q.state, q.attempt, w.host || ':' || w.pid AS worker, q.due_at
  FROM _data_manager_admin.etl_context c
  LEFT JOIN _data_manager_admin.run_queue q USING (context_id)
  LEFT JOIN _data_manager_admin.worker w USING (worker_id)
  WHERE c.root_context_id = (SELECT r.root_context_id FROM _data_manager_admin.etl_context r
                               WHERE r.context_id = %(context_id)s::bigint)
  ORDER BY c.context_id
