-- 0021: lists are read in windows, so each has an index in its order; those of large tables are in 0022.

CREATE INDEX subscription_parked_latest ON _data_manager_admin.subscription_parked (parked_at, name, context_id);
CREATE INDEX token_latest ON _data_manager_admin.token (created_at, token_id);

-- Besides slice_snapshot, which holds the latest state: states on the way to it. A cache as well.
CREATE UNLOGGED TABLE _data_manager_admin.slice_rung (
  context_id     bigint NOT NULL,
  slice          text NOT NULL,
  slice_version  int NOT NULL,
  version        bigint NOT NULL,
  state          jsonb NOT NULL,
  PRIMARY KEY (context_id, slice, slice_version, version)
);
