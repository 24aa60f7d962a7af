-- cancel_trees: end contexts and all below them that have not ended.
-- In:    context_ids bigint[]; payload, meta text: of the CANCELLED events, JSON
-- Out:   context_id of each that was cancelled
-- Locks: the contexts' rows, then rows of run_queue
SELECT context_id FROM _data_manager_admin.cancel_trees(
  %(context_ids)s::bigint[], %(payload)s::text::jsonb, %(meta)s::text::jsonb)
