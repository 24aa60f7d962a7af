-- end_import: what was imported in this transaction becomes what its events say.
-- In:    contexts, versions bigint[]: all of them, and how many events each has; payload, meta text: of the
--        CANCELLED of what was open, JSON
-- Out:   context_id of each that was open
-- Locks: none
SELECT context_id FROM _data_manager_admin.end_import(
  %(contexts)s::bigint[], %(versions)s::bigint[], %(payload)s::text::jsonb, %(meta)s::text::jsonb)
