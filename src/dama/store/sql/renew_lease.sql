-- renew_lease: a worker lives; runs that are due and runs of dead workers are queued again.
-- In:    worker_id bigint; held bigint[]; lease interval
-- Out:   one row: those of the held that are no longer its own; NULL: it was taken for dead
-- Locks: the worker's row; rows of run_queue, SKIP LOCKED
SELECT _data_manager_admin.renew_lease(%(worker_id)s::bigint, %(held)s::bigint[], %(lease)s::interval)
