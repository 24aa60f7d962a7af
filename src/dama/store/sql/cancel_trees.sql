-- cancel_trees: end contexts and all below them that have not ended.
-- In:    context_ids bigint[]; parent bigint: only those that it started, or NULL; payload, meta text:
--        of the CANCELLED events, JSON
-- Out:   context_id of each that was cancelled
-- Locks: the contexts' rows, then rows of run_queue
SELECT context_id FROM _data_manager_admin.cancel_trees(
  ARRAY(SELECT c.context_id FROM _data_manager_admin.etl_context c
          WHERE c.context_id = ANY (%(context_ids)s::bigint[])
            AND (c.parent_id = %(parent)s::bigint OR %(parent)s::bigint IS NULL)),
  %(payload)s::text::jsonb, %(meta)s::text::jsonb)
