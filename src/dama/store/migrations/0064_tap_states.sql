-- 0064: where each tap continues. It outlives the contexts that loaded, which are archived and removed.

CREATE TABLE _data_manager_admin.tap_state (
  task        text NOT NULL,
  key         text NOT NULL,
  version     bigint NOT NULL,
  state       text NOT NULL,
  context_id  bigint NOT NULL,
  stored_at   timestamptz NOT NULL DEFAULT clock_timestamp(),
  PRIMARY KEY (task, key)
) WITH (fillfactor = 50);

COMMENT ON TABLE _data_manager_admin.tap_state IS
  'The last STATE of each Singer tap, as JSON, stored in the commit that has its rows. key: what its state_key gives for the params. version: counts the commits.';
