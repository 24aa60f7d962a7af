-- renew_lease: a worker lives; runs that are due and runs of dead workers are queued again.
-- In:    worker_id bigint; running int; lease interval
-- Out:   one row: alive (false: others took this worker for dead and took its runs over)
-- Locks: the worker's row; rows of run_queue, SKIP LOCKED
SELECT _data_manager_admin.renew_lease(%(worker_id)s::bigint, %(running)s::int, %(lease)s::interval)
