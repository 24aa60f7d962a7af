-- 0010: runs can have a deadline over all attempts, and labels that a worker must offer.

ALTER TABLE _data_manager_admin.run_queue
  ADD COLUMN deadline_at timestamptz,
  ADD COLUMN labels text[] NOT NULL DEFAULT '{}';
ALTER TABLE _data_manager_admin.worker ADD COLUMN labels text[] NOT NULL DEFAULT '{}';
CREATE INDEX run_queue_deadline ON _data_manager_admin.run_queue (deadline_at)
  WHERE deadline_at IS NOT NULL;

DROP FUNCTION IF EXISTS _data_manager_admin.claim_runs(
  bigint, text[], bigint[], bigint[], text[], bigint, int);
DROP FUNCTION IF EXISTS _data_manager_admin.renew_lease(
  bigint, bigint[], text[], text[], text[], interval);

COMMENT ON COLUMN _data_manager_admin.run_queue.labels IS
  'Only a worker that offers all of them claims the run.';
