-- 0029: indexes of tables that may be large, built while everybody goes on; nothing else may be here.

-- Runs of tasks that a worker does not know are not met.
CREATE INDEX CONCURRENTLY run_queue_task ON _data_manager_admin.run_queue (queue, task, (-priority::bigint), context_id)
  WHERE state = 'queued';
