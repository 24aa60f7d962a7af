-- 0020: the database knows who waits for whom, so that it can say why a run is not running.

ALTER TABLE _data_manager_admin.run_queue
  ADD COLUMN is_awaited boolean NOT NULL DEFAULT FALSE,
  ADD COLUMN awaited bigint[];
ALTER TABLE _data_manager_admin.queue_setting ADD COLUMN paused_by text, ADD COLUMN paused_at timestamptz;
ALTER TABLE _data_manager_admin.worker ADD COLUMN tasks text[];

COMMENT ON COLUMN _data_manager_admin.run_queue.is_awaited IS
  'Whether its parent waits for it from the start on: task.run() and task.map() do, task.start() alone does not.';
COMMENT ON COLUMN _data_manager_admin.run_queue.awaited IS
  'The contexts that a waiting run waits for; NULL when a time or a signal may wake it before.';
COMMENT ON COLUMN _data_manager_admin.queue_setting.paused_by IS 'Who paused it, since paused_at.';
COMMENT ON COLUMN _data_manager_admin.worker.tasks IS
  'The tasks that it knows; NULL from an older worker, which does not say.';
