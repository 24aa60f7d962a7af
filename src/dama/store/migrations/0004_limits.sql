-- 0004: queues can be paused and limited; runs can expire before they start.

CREATE TABLE _data_manager_admin.queue_setting (
  queue        text PRIMARY KEY,
  paused       boolean NOT NULL DEFAULT FALSE,
  concurrency  int CHECK (concurrency > 0),
  rate         double precision CHECK (rate > 0),
  allowance    double precision NOT NULL DEFAULT 0,
  allowed_at   timestamptz NOT NULL DEFAULT clock_timestamp()
);

COMMENT ON TABLE _data_manager_admin.queue_setting IS
  'What limits a queue; a queue without a row has no limit.';
COMMENT ON COLUMN _data_manager_admin.queue_setting.concurrency IS 'At most so many runs at once, on all workers.';
COMMENT ON COLUMN _data_manager_admin.queue_setting.rate IS 'At most so many starts a second, on all workers.';
COMMENT ON COLUMN _data_manager_admin.queue_setting.allowance IS 'How many starts the rate allowed at allowed_at.';

ALTER TABLE _data_manager_admin.run_queue ADD COLUMN expires_at timestamptz;
CREATE INDEX run_queue_expiry ON _data_manager_admin.run_queue (expires_at)
  WHERE expires_at IS NOT NULL;
CREATE INDEX run_queue_running ON _data_manager_admin.run_queue (queue) WHERE state = 'running';
