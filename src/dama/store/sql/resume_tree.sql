-- resume_tree: reopen a context that failed or was cancelled, and what failed below it.
-- In:    context_id bigint; meta text: of the RESUMED events, JSON
-- Out:   context_id of each context that was reopened
-- Locks: the contexts' rows, then rows of run_queue
SELECT context_id FROM _data_manager_admin.resume_tree(%(context_id)s::bigint, %(meta)s::text::jsonb)
