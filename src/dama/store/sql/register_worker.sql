-- register_worker: a worker begins.
-- In:    what it is; lease interval
-- Out:   worker_id
-- Locks: none
INSERT INTO _data_manager_admin.worker
  (host, place, pid_namespace, boot_id, pid, pid_started, version, queues, root_context_id, slots, labels, tasks, lease_until)
VALUES (%(host)s, coalesce(nullif(%(place)s, ''), %(host)s), %(pid_namespace)s, %(boot_id)s, %(pid)s, %(pid_started)s, %(version)s, %(queues)s::text[],
        %(root)s::bigint, %(slots)s, %(labels)s::text[], %(tasks)s::text[], clock_timestamp() + %(lease)s::interval)
RETURNING worker_id
