-- 0008: runs that share a key are limited: at most so many of them are begun and not ended.

ALTER TABLE _data_manager_admin.run_queue ADD COLUMN limit_key text, ADD COLUMN key_limit int;
ALTER TABLE _data_manager_admin.run_queue DROP CONSTRAINT run_queue_state_check;
ALTER TABLE _data_manager_admin.run_queue ADD CONSTRAINT run_queue_state_check
  CHECK (state IN ('queued', 'delayed', 'blocked', 'running', 'waiting', 'retrying'));

CREATE INDEX run_queue_key ON _data_manager_admin.run_queue (limit_key, context_id)
  WHERE limit_key IS NOT NULL;
CREATE INDEX run_queue_blocked
  ON _data_manager_admin.run_queue (limit_key, (-priority::bigint), context_id)
  WHERE state = 'blocked';
CREATE INDEX run_queue_admitted ON _data_manager_admin.run_queue (limit_key)
  WHERE limit_key IS NOT NULL AND state NOT IN ('blocked', 'delayed');

COMMENT ON COLUMN _data_manager_admin.run_queue.limit_key IS
  'Of the runs with this key at most key_limit are admitted; the others are blocked.';

DROP FUNCTION IF EXISTS _data_manager_admin.settle_runs(bigint[]);
DROP FUNCTION IF EXISTS _data_manager_admin.cancel_tree(bigint, jsonb, jsonb);
