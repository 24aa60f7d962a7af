-- 0060: when a worker was seen last: the age of its heartbeat, whatever its lease.

ALTER TABLE _data_manager_admin.worker ADD COLUMN seen_at timestamptz NOT NULL DEFAULT clock_timestamp();

COMMENT ON COLUMN _data_manager_admin.worker.seen_at IS 'When it renewed its lease last; its lease may be prolonged for it after an outage.';
