-- 0043: runs that an engine places on another machine.

ALTER TABLE _data_manager_admin.run_queue DROP CONSTRAINT run_queue_state_check;
ALTER TABLE _data_manager_admin.run_queue ADD CONSTRAINT run_queue_state_check
  CHECK (state IN ('queued', 'delayed', 'blocked', 'placed', 'running', 'waiting', 'retrying'));

CREATE TABLE _data_manager_admin.placement (
  context_id   bigint NOT NULL,
  epoch        bigint NOT NULL,
  launcher     text NOT NULL,
  name         text NOT NULL,
  element      int NOT NULL DEFAULT 0,
  task         text NOT NULL,
  native_id    text,
  state        text CHECK (state IN ('pending', 'running', 'ended')),
  reason       text,
  node         text,
  since        timestamptz NOT NULL DEFAULT clock_timestamp(),
  placed_at    timestamptz NOT NULL DEFAULT clock_timestamp(),
  submissions  int NOT NULL DEFAULT 0,
  PRIMARY KEY (context_id, epoch)
);
CREATE INDEX placement_launcher ON _data_manager_admin.placement (launcher, context_id, epoch);

COMMENT ON TABLE _data_manager_admin.placement IS
  'Runs that were given to an engine, until it is known how their jobs ended. What the engine says explains; the queue decides.';
COMMENT ON COLUMN _data_manager_admin.placement.name IS 'The name of the job: of the database, a context and its epoch.';
COMMENT ON COLUMN _data_manager_admin.placement.element IS 'Its place in the job, which may be an array.';
COMMENT ON COLUMN _data_manager_admin.placement.state IS 'As the engine said last; NULL before it has.';
COMMENT ON COLUMN _data_manager_admin.placement.since IS 'When state and reason became what they are.';

CREATE TABLE _data_manager_admin.launcher (
  launcher    text PRIMARY KEY,
  worker_id   bigint NOT NULL,
  trouble     text,
  away_since  timestamptz
);

COMMENT ON TABLE _data_manager_admin.launcher IS
  'Who looks after each launcher: one worker at a time, for as long as its lease holds; and whether the engine answers.';

-- A function cannot be replaced by one that returns something else.
DROP FUNCTION IF EXISTS _data_manager_admin.list_queues(text, int);
