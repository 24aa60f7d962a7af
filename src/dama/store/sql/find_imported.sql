-- find_imported: what contexts of other databases are here.
-- In:    databases text[]; source_ids bigint[]: pairs; here text: what tells this database from all others
-- Out:   place int: of the pair, from 0; context_id: the latest that was imported from there, or the context itself
-- Locks: none
SELECT g.place - 1, coalesce(
         (SELECT max(i.context_id) FROM _data_manager_admin.imported i WHERE i.database = g.database AND i.source_id = g.source_id),
         (SELECT a.context_id FROM _data_manager_admin.context_anywhere(g.source_id) a WHERE g.database = %(here)s::text))
  FROM unnest(%(databases)s::text[], %(source_ids)s::bigint[]) WITH ORDINALITY g (database, source_id, place)
