-- read_place: where the run of a context is, and who holds it.
-- In:    context_id bigint
-- Out:   one row: queue, epoch, host, pid, dama (the version of dama), lease_seconds (until the lease of the worker ends; negative
--        when it has), seen_at (when the worker renewed it last), the last five NULL where nobody holds it; none without a run
-- Locks: none
SELECT q.queue, q.epoch, w.host, w.pid, w.version, extract(epoch FROM w.lease_until - clock_timestamp())::double precision, w.seen_at
  FROM _data_manager_admin.run_queue q LEFT JOIN _data_manager_admin.worker w USING (worker_id)
  WHERE q.context_id = %(context_id)s::bigint
