-- 0045: which contexts were imported from another database. Derived: the meta of their first events says the same.

CREATE TABLE _data_manager_admin.imported (
  context_id  bigint PRIMARY KEY,
  database    text NOT NULL,
  source_id   bigint NOT NULL,
  version     bigint NOT NULL
);

CREATE INDEX imported_source ON _data_manager_admin.imported (database, source_id, context_id);

COMMENT ON TABLE _data_manager_admin.imported IS
  'One row per context that was imported: from which database, and which context it is there.';
COMMENT ON COLUMN _data_manager_admin.imported.database IS 'What tells that database from all others.';
COMMENT ON COLUMN _data_manager_admin.imported.source_id IS 'The context in that database.';
COMMENT ON COLUMN _data_manager_admin.imported.version IS 'How many events it came with.';
