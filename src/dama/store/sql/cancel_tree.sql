-- cancel_tree: end a context and all below it that have not ended.
-- In:    context_id bigint; payload, meta text: of the CANCELLED events, JSON
-- Out:   context_id of each that was cancelled
-- Locks: the contexts' rows, then rows of run_queue
SELECT context_id FROM _data_manager_admin.cancel_tree(
  %(context_id)s::bigint, %(payload)s::text::jsonb, %(meta)s::text::jsonb)
