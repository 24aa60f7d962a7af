-- list_workers: the workers that live, the oldest first.
-- In:    nothing
-- Out:   worker_id, host, pid, version, queues, labels, root_context_id, slots, running, started_at,
--        alive, trouble, seen_at
-- Locks: none
SELECT worker_id, host, pid, version, queues, labels, root_context_id, slots, running, started_at,
       lease_until > clock_timestamp(), trouble, seen_at
  FROM _data_manager_admin.worker ORDER BY worker_id
