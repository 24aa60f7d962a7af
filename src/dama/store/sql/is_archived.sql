-- is_archived: whether a context was archived, and when.
-- In:    context_id bigint
-- Out:   archived_at; no row when it was not
-- Locks: none
SELECT archived_at FROM _data_manager_admin.archived_context WHERE context_id = %(context_id)s::bigint
