-- 0011: closed trees can leave the tables that are worked with, and come back.

CREATE TABLE _data_manager_admin.archived_context (LIKE _data_manager_admin.etl_context);
ALTER TABLE _data_manager_admin.archived_context
  ADD PRIMARY KEY (context_id),
  ADD COLUMN archived_at timestamptz NOT NULL DEFAULT clock_timestamp();
CREATE INDEX archived_context_root ON _data_manager_admin.archived_context (root_context_id);
CREATE INDEX archived_context_age ON _data_manager_admin.archived_context (archived_at);

CREATE TABLE _data_manager_admin.archived_event (LIKE _data_manager_admin.event_store_prototype);
ALTER TABLE _data_manager_admin.archived_event ADD PRIMARY KEY (etl_context_id, version);

COMMENT ON TABLE _data_manager_admin.archived_context IS
  'Contexts of closed trees, as they were in etl_context; see archive_trees() and restore_tree().';
COMMENT ON TABLE _data_manager_admin.archived_event IS
  'The events of archived contexts, with their ids, so that they keep their positions in the log.';
