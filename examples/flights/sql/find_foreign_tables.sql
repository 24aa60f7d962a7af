-- find_foreign_tables: what is in the way of a publication and was not made by one.
-- In:    schema text; tables text[]; mark text, the comment on published tables
-- Out:   one row per table, view or other relation that has one of the names but not the mark
-- Locks: none

SELECT relations.relname
FROM pg_class AS relations
JOIN pg_namespace AS schemas ON schemas.oid = relations.relnamespace
WHERE
    schemas.nspname = %(schema)s
    AND relations.relname = ANY(%(tables)s)
    AND obj_description(relations.oid, 'pg_class') IS DISTINCT FROM %(mark)s
ORDER BY relations.relname
