-- read_tree: a window of the tree that a context is in, in the order in which its contexts were created.
-- In:    context_id bigint; after bigint: only later ones; limit int
-- Out:   rows as read_context, the oldest first; parents come before their children
-- Locks: none
SELECT c.context_id, c.parent_id, c.root_context_id, c.task, c.status, c.version,
       c.created_at, c.modified_at, q.state, q.attempt, q.worker, q.due_at
  -- As a range of the index: an equality would leave the planner the choice of that of all ids.
  FROM (SELECT t.* FROM _data_manager_admin.etl_context t
          WHERE (t.root_context_id, t.context_id) > (
              (SELECT r.root_context_id FROM _data_manager_admin.etl_context r WHERE r.context_id = %(context_id)s::bigint),
              %(after)s::bigint)
            AND t.root_context_id <= (
              SELECT r.root_context_id FROM _data_manager_admin.etl_context r WHERE r.context_id = %(context_id)s::bigint)
          ORDER BY t.root_context_id, t.context_id LIMIT %(limit)s::int) c
  -- OFFSET 0: one by one, where a join could read all that is queued.
  LEFT JOIN LATERAL (
    SELECT r.state, r.attempt, w.host || ':' || w.pid AS worker, r.due_at
      FROM _data_manager_admin.run_queue r LEFT JOIN _data_manager_admin.worker w USING (worker_id)
      WHERE r.context_id = c.context_id OFFSET 0) q ON TRUE
  ORDER BY c.context_id
