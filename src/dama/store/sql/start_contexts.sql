-- start_contexts: create contexts with their INITIAL events and queue them; see functions/runs.sql.
-- In:    batch text, spawned text or NULL, both JSON; parent bigint or NULL
-- Out:   context_id, is_new of each item, in order
-- Locks: the row of the parent
SELECT context_id, is_new
  FROM _data_manager_admin.start_contexts(
    %(batch)s::text::jsonb, %(spawned)s::text::jsonb, %(parent)s::bigint)
