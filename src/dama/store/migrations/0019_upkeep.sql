-- 0019: trees that are being ended are known as such, and limits of queues are numbers to count with.

CREATE TABLE _data_manager_admin.ending_tree (
  context_id  bigint PRIMARY KEY,
  since       timestamptz NOT NULL DEFAULT clock_timestamp()
);

COMMENT ON TABLE _data_manager_admin.ending_tree IS
  'Contexts that passed their deadline: what is open below them is cancelled in batches, and nothing is started there.';

UPDATE _data_manager_admin.queue_setting SET rate = NULL WHERE NOT rate BETWEEN 1e-6 AND 1e6;
UPDATE _data_manager_admin.queue_setting SET allowance = 0 WHERE NOT allowance BETWEEN -1e6 AND 1e6;
ALTER TABLE _data_manager_admin.queue_setting
  ADD CONSTRAINT queue_setting_rate_range CHECK (rate BETWEEN 1e-6 AND 1e6);

DROP FUNCTION IF EXISTS _data_manager_admin.expire_runs();
DROP FUNCTION IF EXISTS _data_manager_admin.end_overdue();
DROP FUNCTION IF EXISTS _data_manager_admin.end_delays(timestamptz);
