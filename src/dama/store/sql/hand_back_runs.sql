-- hand_back_runs: a worker stops; these runs are queued again, as if they were never claimed.
-- In:    worker_id bigint
-- Out:   nothing
-- Locks: rows of run_queue
UPDATE _data_manager_admin.run_queue SET state = 'queued', worker_id = NULL
  WHERE worker_id = %(worker_id)s::bigint AND state = 'running'
