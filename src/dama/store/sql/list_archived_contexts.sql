-- list_archived_contexts: archived contexts in their order.
-- In:    after bigint; limit int
-- Out:   context_id
-- Locks: none
SELECT a.context_id FROM _data_manager_admin.archived_context a
  WHERE a.context_id > %(after)s::bigint ORDER BY a.context_id LIMIT %(limit)s::int
