-- find_workers_of_host: the workers that this host has, or had.
-- In:    host text
-- Out:   worker_id, boot_id, pid, pid_started
-- Locks: none
SELECT worker_id, boot_id, pid, pid_started FROM _data_manager_admin.worker WHERE host = %(host)s
