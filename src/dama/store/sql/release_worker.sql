-- release_worker: workers are gone; their runs are queued again.
-- In:    worker_ids bigint[]; died boolean: whether they were killed or lost
-- Out:   how many runs
-- Locks: rows of worker and run_queue
SELECT _data_manager_admin.release_workers(%(worker_ids)s::bigint[], %(died)s::boolean)
