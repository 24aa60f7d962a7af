-- 0006: schedules start tasks.

CREATE TABLE _data_manager_admin.schedule (
  name         text PRIMARY KEY,
  task         text NOT NULL,
  cron         text NOT NULL,
  zone         text NOT NULL,
  params       jsonb NOT NULL,
  catch_up     text NOT NULL CHECK (catch_up IN ('none', 'one', 'all')),
  overlap      text NOT NULL CHECK (overlap IN ('allow', 'skip', 'queue')),
  jitter       double precision NOT NULL CHECK (jitter >= 0),
  paused       boolean NOT NULL DEFAULT FALSE,
  next_at      timestamptz NOT NULL,
  last_at      timestamptz,
  started      bigint NOT NULL DEFAULT 0,
  skipped      bigint NOT NULL DEFAULT 0,
  failure      text,
  created_at   timestamptz NOT NULL DEFAULT clock_timestamp()
);

CREATE INDEX schedule_next ON _data_manager_admin.schedule (next_at) WHERE NOT paused;

COMMENT ON TABLE _data_manager_admin.schedule IS 'When tasks are started by themselves.';
COMMENT ON COLUMN _data_manager_admin.schedule.next_at IS
  'The next firing; whoever starts it moves this on in the same transaction.';
COMMENT ON COLUMN _data_manager_admin.schedule.skipped IS
  'Firings without a run: an earlier one was open, or they were missed.';
COMMENT ON COLUMN _data_manager_admin.schedule.failure IS
  'Why the schedule was paused: its last firing could not be started.';

DROP FUNCTION IF EXISTS _data_manager_admin.renew_lease(bigint, bigint[], text[], text[], interval);
