-- list_contexts: a window of contexts, newest first; see functions/list_contexts.sql.
-- In:    filter text (JSON); before bigint or NULL; limit int
-- Out:   found boolean (FALSE in a last row: where to look on), then as read_context
-- Locks: none
SELECT l.found, c.context_id, c.parent_id, c.root_context_id, c.task, c.status, c.version,
       c.created_at, c.modified_at, q.state, q.attempt, w.host || ':' || w.pid AS worker, q.due_at
  FROM _data_manager_admin.list_contexts(%(filter)s::text::jsonb, %(before)s::bigint, %(limit)s::int) l
  JOIN _data_manager_admin.etl_context c USING (context_id)
  LEFT JOIN _data_manager_admin.run_queue q USING (context_id)
  LEFT JOIN _data_manager_admin.worker w USING (worker_id)
  ORDER BY c.context_id DESC
