-- 0022: indexes of tables that may be large, built while everybody goes on; nothing else may be here.

CREATE INDEX CONCURRENTLY etl_context_task ON _data_manager_admin.etl_context (task, context_id);
CREATE INDEX CONCURRENTLY etl_context_roots ON _data_manager_admin.etl_context (context_id) WHERE parent_id IS NULL;
-- Only what leaves the ways of claims: queued and running have indexes of their own.
CREATE INDEX CONCURRENTLY run_queue_aside ON _data_manager_admin.run_queue (queue, state)
  WHERE state NOT IN ('queued', 'running');
