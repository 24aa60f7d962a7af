-- list_archived: a window of the trees that were archived for longer than an age, in the order of their roots.
-- In:    age interval; after bigint: only roots behind this context; limit int
-- Out:   context_id of each root
-- Locks: none
SELECT r.context_id FROM _data_manager_admin.archived_context r
  WHERE r.context_id > %(after)s::bigint AND r.context_id = r.root_context_id
    AND r.archived_at <= clock_timestamp() - %(age)s::interval
  ORDER BY r.context_id LIMIT %(limit)s::int
