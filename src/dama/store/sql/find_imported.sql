-- find_imported: what contexts of other databases are here.
-- In:    databases text[]; source_ids bigint[]; created text[]: when each was created; here text: what tells this
--        database from all others
-- Out:   place int: from 0; context_id: the latest that was imported from there, or the context itself, or NULL;
--        comes_back: it is of this database, and its id was drawn and is nobody's now
-- Locks: none
-- A copy of this database's files has the same identity: what was created at another moment is another context.
SELECT g.place - 1, coalesce(
         (SELECT max(i.context_id) FROM _data_manager_admin.imported i WHERE i.database = g.database AND i.source_id = g.source_id),
         CASE WHEN a.created_at = g.created THEN a.context_id END),
       g.database = %(here)s::text AND a.context_id IS NULL
         AND g.source_id BETWEEN 1 AND _data_manager_admin.last_drawn('_data_manager_admin.etl_context_context_id_seq')
  FROM unnest(%(databases)s::text[], %(source_ids)s::bigint[], %(created)s::text[]::timestamptz[]) WITH ORDINALITY g (database, source_id, created, place)
  LEFT JOIN LATERAL (
    SELECT c.context_id, c.created_at FROM _data_manager_admin.etl_context c WHERE c.context_id = g.source_id AND g.database = %(here)s::text
    UNION ALL
    SELECT c.context_id, c.created_at FROM _data_manager_admin.archived_context c WHERE c.context_id = g.source_id AND g.database = %(here)s::text) a ON TRUE
