-- unfilled: columns that a new installation has filled in every row, and that may be empty yet.
-- Out:   table, column, whether a check that is being validated is there
-- Locks: none
SELECT t.name, t.filled, EXISTS (SELECT FROM pg_constraint k WHERE k.conrelid = a.attrelid AND k.conname = format('adoption_%s', t.filled))
  FROM (VALUES ('etl_context', 'context_id'), ('etl_context', 'root_context_id'), ('event_store_prototype', 'event_id'),
               ('event_store_prototype', 'etl_context_id'), ('event_store_prototype', 'type'), ('event_store_prototype', 'version'),
               ('archived_context', 'root_context_id'), ('archived_event', 'event_id'), ('archived_event', 'type')) t (name, filled)
  JOIN pg_attribute a ON a.attrelid = to_regclass('_data_manager_admin.' || t.name) AND a.attname = t.filled
  WHERE NOT a.attnotnull
