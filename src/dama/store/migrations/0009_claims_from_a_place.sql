-- 0009: a claim can go on behind the place where the one before it stopped.

DROP INDEX _data_manager_admin.run_queue_claim;
CREATE INDEX run_queue_claim ON _data_manager_admin.run_queue (queue, (-priority::bigint), context_id)
  WHERE state = 'queued';
DROP FUNCTION IF EXISTS _data_manager_admin.claim_runs(bigint, text[], text[], bigint, int);
