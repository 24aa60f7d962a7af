-- import_events: events of contexts that are imported in this transaction.
-- In:    lines text[]: JSON; contexts bigint[]: the new context of each; first, last bigint: of all that are
--        imported; mark text: what their first events say of the import, JSON
-- Out:   nothing
-- Locks: none
SELECT _data_manager_admin.import_events(
  %(lines)s::text[], %(contexts)s::bigint[], %(first)s::bigint, %(last)s::bigint, %(mark)s::text::jsonb)
