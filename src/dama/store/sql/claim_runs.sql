-- claim_runs: reserve queued runs for one worker, the highest priority first, then the oldest.
-- In:    worker_id bigint; queues, tasks, offered (labels) text[]; ranks, marks bigint[]: the place in each queue behind
--        which to look; root bigint or NULL (only this tree); demand int
-- Out:   one row per claimed run; none when idle. is_limited: others may wait for its place
-- Locks: the worker's row, shared; runs with SKIP LOCKED, so workers never wait for each other
SELECT context_id, parent_id, root_context_id, task, epoch, attempt, queue, priority, has_params, params,
       program_epoch, deaths, deaths_alone,
       coalesce((SELECT s.concurrency IS NOT NULL FROM _data_manager_admin.queue_setting s WHERE s.queue = c.queue), FALSE)
         OR coalesce((SELECT q.limit_key IS NOT NULL FROM _data_manager_admin.run_queue q WHERE q.context_id = c.context_id), FALSE)
         AS is_limited
  FROM _data_manager_admin.claim_runs(
    %(worker_id)s::bigint, %(queues)s::text[], %(ranks)s::bigint[], %(marks)s::bigint[],
    %(tasks)s::text[], %(offered)s::text[], %(root)s::bigint, %(demand)s::int) c
