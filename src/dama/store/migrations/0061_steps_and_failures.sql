-- 0061: the steps and failures of a context without its other events; nothing else may be here.

CREATE INDEX CONCURRENTLY event_store_prototype_mark
  ON _data_manager_admin.event_store_prototype (etl_context_id, version)
  WHERE type LIKE '%/%:%' OR type ~ ':(ERROR|CANCELLED)$';
