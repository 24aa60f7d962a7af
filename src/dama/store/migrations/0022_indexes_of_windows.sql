-- 0022: indexes of tables that may be large, built while everybody goes on; nothing else may be here.

-- Partial, although few contexts have no task: a plan that looks for one context cannot take it. While a table
-- is small it seems as good as the primary key, and a session that keeps such a plan reads all of it ever after.
CREATE INDEX CONCURRENTLY etl_context_task ON _data_manager_admin.etl_context (task, context_id) WHERE task IS NOT NULL;
CREATE INDEX CONCURRENTLY etl_context_roots ON _data_manager_admin.etl_context (context_id) WHERE parent_id IS NULL;
-- Only what leaves the ways of claims: queued and running have indexes of their own.
CREATE INDEX CONCURRENTLY run_queue_aside ON _data_manager_admin.run_queue (queue, state)
  WHERE state NOT IN ('queued', 'running');
