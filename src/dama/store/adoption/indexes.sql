-- indexes: those of a new installation, and two that find what was written meanwhile. :walls: rows that the second wall
-- behind the locks of contexts leaves out, where history is against it.
CREATE INDEX CONCURRENTLY adoption_new_context ON _data_manager_admin.etl_context (context_id) WHERE root_context_id IS NULL;
CREATE INDEX CONCURRENTLY adoption_new_event ON _data_manager_admin.event_store_prototype (etl_context_id, event_id) WHERE version IS NULL;
CREATE UNIQUE INDEX CONCURRENTLY event_store_prototype_version ON _data_manager_admin.event_store_prototype (etl_context_id, version);
CREATE INDEX CONCURRENTLY event_store_prototype_xid ON _data_manager_admin.event_store_prototype (xid, event_id);
CREATE UNIQUE INDEX CONCURRENTLY event_store_prototype_initial ON _data_manager_admin.event_store_prototype (etl_context_id) WHERE type LIKE '%:INITIAL' :walls;
CREATE UNIQUE INDEX CONCURRENTLY event_store_prototype_final ON _data_manager_admin.event_store_prototype (etl_context_id) WHERE type LIKE '%:FINAL' :walls;
CREATE UNIQUE INDEX CONCURRENTLY event_store_prototype_idempotency ON _data_manager_admin.event_store_prototype (etl_context_id, (meta ->> 'idempotency_key')) WHERE meta ? 'idempotency_key' :walls;
CREATE INDEX CONCURRENTLY etl_context_parent ON _data_manager_admin.etl_context (parent_id, context_id) WHERE parent_id IS NOT NULL;
CREATE INDEX CONCURRENTLY etl_context_root ON _data_manager_admin.etl_context (root_context_id, context_id);
CREATE INDEX CONCURRENTLY etl_context_unfinished ON _data_manager_admin.etl_context (status, context_id) WHERE status <> 'DONE';
CREATE UNIQUE INDEX CONCURRENTLY etl_context_idempotency ON _data_manager_admin.etl_context (task, idempotency_key) WHERE idempotency_key IS NOT NULL;
