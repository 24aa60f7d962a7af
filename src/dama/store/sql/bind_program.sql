-- bind_program: a run is about to start a program; from now on it belongs to the place of its worker.
-- In:    context_id, worker_id, epoch bigint
-- Out:   one row; none when the run is no longer the worker's
-- Locks: the row of the run
UPDATE _data_manager_admin.run_queue q SET host = coalesce(w.place, w.host), program_epoch = %(epoch)s::bigint
  FROM _data_manager_admin.worker w
  WHERE q.context_id = %(context_id)s::bigint AND q.worker_id = %(worker_id)s::bigint
    AND w.worker_id = q.worker_id AND q.state = 'running'
  RETURNING q.context_id
