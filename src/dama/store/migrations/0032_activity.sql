-- 0032: what happened when and how full the queues were, for charts. Derived from the log and from looks
-- at the queue; disposable: what is removed is missing in the charts and nowhere else.

-- One row, replaced and not updated, as event_log_state: the newest is the last entry of the index.
CREATE TABLE _data_manager_admin.activity_state (
  position  bigint PRIMARY KEY
);

COMMENT ON TABLE _data_manager_admin.activity_state IS
  'Up to which position of the log the events are in activity_count.';

CREATE TABLE _data_manager_admin.activity_count (
  at       timestamptz NOT NULL,
  outcome  text NOT NULL CHECK (outcome IN ('started', 'done', 'error', 'cancelled')),
  bucket   smallint NOT NULL,
  count    bigint NOT NULL,
  PRIMARY KEY (at, outcome, bucket)
);

COMMENT ON TABLE _data_manager_admin.activity_count IS
  'How many contexts were started and ended in the four minutes from at. Kept for eight days.';
COMMENT ON COLUMN _data_manager_admin.activity_count.bucket IS
  'Of those that ended, how long they took since their start: at most 2 ^ (bucket / 4) milliseconds; -1 for others.';

CREATE TABLE _data_manager_admin.queue_sample (
  at       timestamptz NOT NULL,
  queue    text NOT NULL,
  queued   bigint NOT NULL,
  running  bigint NOT NULL,
  age      double precision NOT NULL,
  PRIMARY KEY (at, queue)
);

COMMENT ON TABLE _data_manager_admin.queue_sample IS
  'The most that was in each of the first hundred queues in the four minutes from at. Kept for eight days; age: seconds of the oldest queued run.';
