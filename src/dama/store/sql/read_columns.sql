-- read_columns: the columns of tables and views, as they are now.
-- In:    schemas, names text[]: of each
-- Out:   one row for each that is there: place (from 1), columns (JSON: [name, type, comment])
-- Locks: none
SELECT a.place, (
    SELECT jsonb_agg(jsonb_build_array(t.attname, format_type(t.atttypid, t.atttypmod), col_description(c.oid, t.attnum)) ORDER BY t.attnum)
      FROM pg_attribute t WHERE t.attrelid = c.oid AND t.attnum > 0 AND NOT t.attisdropped)
  FROM unnest(%(schemas)s::text[], %(names)s::text[]) WITH ORDINALITY AS a (schema, name, place)
  JOIN pg_namespace n ON n.nspname = a.schema
  JOIN pg_class c ON c.relnamespace = n.oid AND c.relname = a.name AND c.relkind IN ('r', 'p', 'v', 'm', 'f')
