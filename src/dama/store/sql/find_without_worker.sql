-- find_without_worker: which of some contexts have a run that is queued, and that no live worker would claim.
-- In:    contexts bigint[]
-- Out:   context_id, task
-- Locks: none
SELECT q.context_id, q.task
  FROM _data_manager_admin.run_queue q
  WHERE q.context_id = ANY (%(contexts)s::bigint[]) AND q.state = 'queued'
    AND NOT EXISTS (
      SELECT FROM _data_manager_admin.worker w
        WHERE w.lease_until > clock_timestamp()
          AND CASE WHEN w.root_context_id IS NOT NULL THEN w.root_context_id = q.root_context_id
                     AND _data_manager_admin.serves_in_tree(q.context_id, q.root_context_id, q.labels, w.labels)
                   ELSE q.queue = ANY (w.queues) AND q.labels <@ w.labels AND (q.task = ANY (w.tasks)) IS NOT FALSE END)
