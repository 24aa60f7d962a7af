-- 0005: the log, all events in one gap-free order, and how far each subscription has come in it.
--
-- Events that are there already are placed by the first sequence_log(): to it this is a database
-- that was restored, since no system_identifier is 0.

CREATE TABLE _data_manager_admin.event_log (
  position  bigint PRIMARY KEY,
  event_id  bigint NOT NULL UNIQUE
);

COMMENT ON TABLE _data_manager_admin.event_log IS
  'Every committed event once, in one order without gaps, written by sequence_log(). Positions never change.';

-- One row, replaced and not updated: its newest version is the last entry of the index, however
-- many dead ones a long transaction keeps the vacuum from removing.
CREATE TABLE _data_manager_admin.event_log_state (
  position           bigint PRIMARY KEY,
  snapshot           pg_snapshot NOT NULL,
  system_identifier  bigint NOT NULL
);

INSERT INTO _data_manager_admin.event_log_state VALUES (0, pg_current_snapshot(), 0);

COMMENT ON TABLE _data_manager_admin.event_log_state IS
  'The last position, and the snapshot of the database in which all visible events have theirs.';

CREATE TABLE _data_manager_admin.subscription (
  name        text PRIMARY KEY,
  lanes       int NOT NULL CHECK (lanes BETWEEN 1 AND 1024),
  created_at  timestamptz NOT NULL DEFAULT clock_timestamp()
);

COMMENT ON TABLE _data_manager_admin.subscription IS
  'Readers of the log that remember how far they came. Root context R is in lane R % lanes.';

CREATE TABLE _data_manager_admin.subscription_lane (
  name         text NOT NULL REFERENCES _data_manager_admin.subscription,
  lane         int NOT NULL,
  position     bigint NOT NULL,
  modified_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
  PRIMARY KEY (name, lane)
) WITH (fillfactor = 20);

COMMENT ON TABLE _data_manager_admin.subscription_lane IS
  'Checkpoints: all up to the position is handled or parked. Whoever handles a lane holds its row.';

CREATE TABLE _data_manager_admin.subscription_parked (
  name        text NOT NULL REFERENCES _data_manager_admin.subscription,
  context_id  bigint NOT NULL,
  lane        int NOT NULL,
  position    bigint NOT NULL,
  error       jsonb NOT NULL,
  parked_at   timestamptz NOT NULL DEFAULT clock_timestamp(),
  resumed_at  timestamptz,
  PRIMARY KEY (name, context_id)
);

CREATE INDEX subscription_parked_resumed ON _data_manager_admin.subscription_parked (name, lane)
  WHERE resumed_at IS NOT NULL;

COMMENT ON TABLE _data_manager_admin.subscription_parked IS
  'Contexts whose event a subscription could not handle. Their events wait from the position on.';
