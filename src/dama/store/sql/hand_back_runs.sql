-- hand_back_runs: a worker gives runs back that it does not execute; they are queued again.
-- In:    worker_id bigint; kept bigint[]: contexts that it continues with; only bigint[]: no others than
--        these, or NULL; delay interval or NULL: before they are queued
-- Out:   context_id of each
-- Locks: rows of run_queue that nobody else has locked: a worker waits for no stranger, and asks again
UPDATE _data_manager_admin.run_queue SET worker_id = NULL,
    state = CASE WHEN %(delay)s::interval IS NULL THEN 'queued' ELSE 'retrying' END,
    due_at = clock_timestamp() + %(delay)s::interval,
    -- It was no attempt of the task. That of a program that continues was not counted.
    attempt = CASE WHEN host IS NULL THEN greatest(attempt - 1, 0) ELSE attempt END,
    host_until = _data_manager_admin.end_of_grace(host)
  WHERE context_id = ANY (ARRAY(
    SELECT q.context_id FROM _data_manager_admin.run_queue q
      WHERE q.worker_id = %(worker_id)s::bigint AND q.state = 'running'
        AND q.context_id <> ALL (%(kept)s::bigint[])
        AND (q.context_id = ANY (%(only)s::bigint[]) OR %(only)s::bigint[] IS NULL)
      FOR NO KEY UPDATE SKIP LOCKED))
  RETURNING context_id
