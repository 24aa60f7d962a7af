-- retry_run: an attempt failed; the run is queued again after a delay, at once where there is none: the worker may end when
-- nothing is queued.
-- In:    context_id, worker_id bigint; epoch bigint or NULL; delay interval
-- Out:   nothing; sent again with the epoch it does nothing
-- Locks: the row of the run
UPDATE _data_manager_admin.run_queue
  SET state = CASE WHEN %(delay)s::interval > '0' THEN 'retrying' ELSE 'queued' END,
      worker_id = NULL, host = NULL, program_epoch = NULL, deaths = 0, deaths_alone = 0,
      due_at = CASE WHEN %(delay)s::interval > '0' THEN clock_timestamp() + %(delay)s::interval END
  WHERE context_id = %(context_id)s::bigint AND worker_id = %(worker_id)s::bigint
    AND (epoch = %(epoch)s::bigint OR %(epoch)s::bigint IS NULL)
