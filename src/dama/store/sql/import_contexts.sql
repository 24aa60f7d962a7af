-- import_contexts: new contexts, without events yet; after draw_contexts, in its transaction.
-- In:    items text: JSON; see functions/bundles.sql
-- Out:   nothing
-- Locks: none
SELECT _data_manager_admin.import_contexts(%(items)s::text::jsonb)
