-- export_contexts: contexts with all below them, as they leave for a file; see functions/bundles.sql.
-- In:    given bigint[]; here text: what tells this database from all others; plainly boolean: what was imported
--        leaves as what it is here, too
-- Out:   n, parent, database, source_id, task, status, upto, created_at, context_id; parents come before their children
-- Locks: none
SELECT x.n, x.parent, x.database, x.source_id, x.task, x.status, x.upto, x.created_at, x.context_id
  FROM _data_manager_admin.exported_contexts(%(given)s::bigint[], %(here)s::text, %(plainly)s::boolean) x ORDER BY x.n
