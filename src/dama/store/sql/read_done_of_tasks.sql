-- read_done_of_tasks: the latest contexts of tasks that are done.
-- In:    tasks text[]; most int: of each; among the latest 1,000 of each is looked
-- Out:   task, context_id, epoch, modified_at
-- Locks: none
SELECT n.task, c.context_id, c.epoch, c.modified_at
  FROM unnest(%(tasks)s::text[]) AS n (task)
  CROSS JOIN LATERAL (
    SELECT l.context_id, l.epoch, l.modified_at FROM (
        SELECT k.context_id, k.epoch, k.modified_at, k.status FROM _data_manager_admin.etl_context k
          WHERE k.task = n.task ORDER BY k.context_id DESC LIMIT 1000) l
      WHERE l.status = 'DONE' ORDER BY l.context_id DESC LIMIT %(most)s::int) c
