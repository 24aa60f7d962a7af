-- list_contexts: contexts, newest first, a page at a time.
-- In:    status text, task text, before bigint: NULL for any; roots_only boolean; limit int
-- Out:   rows as read_context
-- Locks: none
SELECT c.context_id, c.parent_id, c.root_context_id, c.task, c.status, c.version,
       c.created_at, c.modified_at, q.state, q.attempt, w.host || ':' || w.pid AS worker, q.due_at
  FROM _data_manager_admin.etl_context c
  LEFT JOIN _data_manager_admin.run_queue q USING (context_id)
  LEFT JOIN _data_manager_admin.worker w USING (worker_id)
  WHERE (%(status)s::text IS NULL OR c.status = %(status)s::text)
    AND (%(task)s::text IS NULL OR c.task = %(task)s::text)
    AND (%(before)s::bigint IS NULL OR c.context_id < %(before)s::bigint)
    AND (NOT %(roots_only)s::boolean OR c.parent_id IS NULL)
  ORDER BY c.context_id DESC
  LIMIT %(limit)s::int
