-- 0031: states along the history of a context, so that any moment is near one of them. Caches, as the snapshots are;
-- both hold a text now, since jsonb puts the keys of a state in another order.

TRUNCATE _data_manager_admin.slice_snapshot;
ALTER TABLE _data_manager_admin.slice_snapshot ALTER COLUMN state TYPE text;

CREATE UNLOGGED TABLE _data_manager_admin.slice_rung (
  context_id     bigint NOT NULL,
  slice          text NOT NULL,
  slice_version  int NOT NULL,
  version        bigint NOT NULL,
  state          text NOT NULL,
  PRIMARY KEY (context_id, slice, slice_version, version)
);

COMMENT ON TABLE _data_manager_admin.slice_rung IS
  'The states of slices after some versions of a context, as JSON. A cache: emptied at any time, it costs time only.';
