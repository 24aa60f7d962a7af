-- hand_back_runs: a worker stops, or lost the answer to a claim; these runs are queued again.
-- In:    worker_id bigint; kept bigint[]: contexts that it goes on with
-- Out:   nothing
-- Locks: rows of run_queue
UPDATE _data_manager_admin.run_queue SET state = 'queued', worker_id = NULL,
    host_until = _data_manager_admin.end_of_grace(host)
  WHERE worker_id = %(worker_id)s::bigint AND state = 'running'
    AND context_id <> ALL (%(kept)s::bigint[])
