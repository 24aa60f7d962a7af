-- 0071: which steps wrote a table, by the name that their results have; nothing else may be here.

CREATE INDEX CONCURRENTLY event_store_prototype_table
  ON _data_manager_admin.event_store_prototype (left(payload ->> 'table', 128), event_id)
  WHERE type LIKE '%/%:DONE' AND payload ? 'table';
