-- find_neighbours: the workers of a place whose processes can be seen from a worker of it.
-- In:    place, boot_id, pid_namespace text
-- Out:   worker_id, pid, pid_started
-- Locks: none
SELECT worker_id, pid, pid_started FROM _data_manager_admin.worker
  WHERE place = %(place)s AND boot_id = %(boot_id)s AND pid_namespace = %(pid_namespace)s
