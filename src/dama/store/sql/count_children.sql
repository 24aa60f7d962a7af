-- count_children: how many contexts a context started, by task and status; 20,000 are counted, at most.
-- In:    parent bigint
-- Out:   task (or NULL), status, count; the most first
-- Locks: none
SELECT c.task, c.status, count(*)
  FROM (SELECT n.task, n.status FROM _data_manager_admin.etl_context n
          WHERE (n.parent_id, n.context_id) > (%(parent)s::bigint, 0) AND n.parent_id <= %(parent)s::bigint
          ORDER BY n.parent_id, n.context_id LIMIT 20000) c
  GROUP BY 1, 2 ORDER BY 3 DESC, 1, 2
