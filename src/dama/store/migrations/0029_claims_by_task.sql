-- 0029: indexes of tables that may be large, built while everybody goes on; nothing else may be here.

-- Runs of tasks that a worker does not know are not met, nor those that need labels which it does not offer.
CREATE INDEX CONCURRENTLY run_queue_task ON _data_manager_admin.run_queue (queue, task, (-priority::bigint), context_id)
  WHERE state = 'queued' AND labels = '{}';
CREATE INDEX CONCURRENTLY run_queue_labels ON _data_manager_admin.run_queue
  (queue, task, hash_array_extended(labels, 0), (-priority::bigint), context_id)
  WHERE state = 'queued' AND labels <> '{}';
