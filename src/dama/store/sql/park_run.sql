-- park_run: a run waits for subtasks, without a worker; queued at once when they have ended.
-- In:    context_id, worker_id bigint; awaited bigint[]; wake_on_failure boolean
-- Out:   one row: parked (false: the run is no longer this worker's)
-- Locks: the row of the run
SELECT _data_manager_admin.park_run(
  %(context_id)s::bigint, %(worker_id)s::bigint, %(awaited)s::bigint[], %(wake_on_failure)s::boolean)
