-- renew_lease: a worker lives; runs of dead workers are queued again.
-- In:    worker_id bigint; held bigint[]; queues, tasks, offered (labels) text[]: what it
--        claims; scheduled text[]: the tasks whose schedules it looks after; lease interval;
--        ranks, marks bigint[]: the place in each queue behind which to look for work, or NULL: everywhere
-- Out:   one row: gone (those of the held that are no longer its own; NULL: it was presumed dead),
--        work (something is queued for it), next_due (seconds until uphold.sql has something to do, or NULL),
--        next_firing (the same for a schedule)
-- Locks: the worker's row; rows of run_queue, SKIP LOCKED
SELECT gone, work, next_due, next_firing FROM _data_manager_admin.renew_lease(
  %(worker_id)s::bigint, %(held)s::bigint[], %(queues)s::text[], %(tasks)s::text[],
  %(offered)s::text[], %(scheduled)s::text[], %(lease)s::interval,
  %(ranks)s::bigint[], %(marks)s::bigint[])
