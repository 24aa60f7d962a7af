-- read_usual: how long the latest runs of a task took that were done.
-- In:    task text; before bigint: only earlier contexts; most int: so many of them are looked at
-- Out:   seconds double precision, of each
-- Locks: none
SELECT extract(epoch FROM c.modified_at - c.created_at)::double precision
  FROM (SELECT n.status, n.created_at, n.modified_at FROM _data_manager_admin.etl_context n
          -- As a range of the index: an equality would leave the planner the choice of that of all ids.
          WHERE (n.task, n.context_id) < (%(task)s::text, %(before)s::bigint) AND n.task >= %(task)s::text
          ORDER BY n.task DESC, n.context_id DESC LIMIT %(most)s::int) c
  WHERE c.status = 'DONE'
