-- read_imported: where a context was imported from.
-- In:    context_id bigint
-- Out:   database, source_id, version; no row for one that ran here
-- Locks: none
SELECT i.database, i.source_id, i.version FROM _data_manager_admin.imported i WHERE i.context_id = %(context_id)s::bigint
