-- take_placed: the worker that an engine has started takes the run that it was started for.
-- In:    worker_id, context_id, epoch bigint
-- Out:   one row, as claim_runs has them; none when another one has it, or it is no longer wanted
-- Locks: the worker's row, shared; the run's
WITH own AS MATERIALIZED (
  SELECT w.worker_id FROM _data_manager_admin.worker w WHERE w.worker_id = %(worker_id)s::bigint FOR KEY SHARE SKIP LOCKED),
taken AS (
  UPDATE _data_manager_admin.run_queue q SET state = 'running', worker_id = own.worker_id
    FROM own WHERE q.context_id = %(context_id)s::bigint AND q.epoch = %(epoch)s::bigint AND q.state = 'placed'
    RETURNING q.*)
SELECT q.context_id, q.parent_id, q.root_context_id, q.task, q.epoch, q.attempt, q.queue, q.priority,
       e.payload IS NOT NULL, e.payload::text, q.program_epoch, q.deaths, q.deaths_alone,
       q.limit_key IS NOT NULL OR EXISTS (
         SELECT FROM _data_manager_admin.queue_setting s WHERE s.queue = q.queue AND s.concurrency IS NOT NULL)
  FROM taken q
  JOIN _data_manager_admin.etl_context c ON c.context_id = q.context_id
  JOIN _data_manager_admin.event_store_prototype e ON e.event_id = c.initial_event_id
