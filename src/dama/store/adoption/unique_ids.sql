-- unique_ids: which of the two tables have a unique index of their ids.
-- Out:   their names
SELECT c.relname FROM pg_index i
  JOIN pg_class c ON c.oid = i.indrelid JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = i.indkey[0]
  WHERE c.relnamespace = to_regnamespace('_data_manager_admin') AND i.indisunique AND i.indisvalid AND i.indnkeyatts = 1
    AND i.indpred IS NULL AND (c.relname, a.attname) IN (('etl_context', 'context_id'), ('event_store_prototype', 'event_id'))
