-- lead_launcher: look after a launcher, if no live worker does.
-- In:    launcher text; worker_id bigint
-- Out:   one row where it is this worker's; none where it is another's
-- Locks: the row of the launcher
INSERT INTO _data_manager_admin.launcher AS l (launcher, worker_id)
  SELECT %(launcher)s::text, w.worker_id FROM _data_manager_admin.worker w
    WHERE w.worker_id = %(worker_id)s::bigint AND w.lease_until > clock_timestamp()
ON CONFLICT (launcher) DO UPDATE SET worker_id = excluded.worker_id
  WHERE l.worker_id = excluded.worker_id OR NOT EXISTS (
    SELECT FROM _data_manager_admin.worker w WHERE w.worker_id = l.worker_id AND w.lease_until > clock_timestamp())
RETURNING l.worker_id
