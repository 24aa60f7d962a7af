-- list_children: a window of the contexts that a context started, by their ids.
-- In:    parent bigint; status text or NULL; after bigint: only later ones; limit int
-- Out:   found boolean (FALSE in a last row: how far was looked), then as read_context
-- Locks: none
-- With a status, 20,000 children are looked at, at most.
WITH near AS MATERIALIZED (
  SELECT c.* FROM _data_manager_admin.etl_context c
    -- As a range of the index: an equality would leave the planner the choice of that of all ids.
    WHERE (c.parent_id, c.context_id) > (%(parent)s::bigint, %(after)s::bigint) AND c.parent_id <= %(parent)s::bigint
    ORDER BY c.parent_id, c.context_id
    LIMIT CASE WHEN %(status)s::text IS NULL THEN %(limit)s::int ELSE 20000 END),
found AS (
  SELECT TRUE AS found, n.* FROM near n
    WHERE n.status = %(status)s::text OR %(status)s::text IS NULL
    ORDER BY n.context_id LIMIT %(limit)s::int)
SELECT c.found, c.context_id, c.parent_id, c.root_context_id, c.task, c.status, c.version,
       c.created_at, c.modified_at, q.state, q.attempt, q.worker, q.due_at
  FROM (SELECT * FROM found
        UNION ALL
        SELECT FALSE, n.* FROM (SELECT * FROM near ORDER BY context_id DESC LIMIT 1) n
          WHERE (SELECT count(*) FROM found) < %(limit)s::int AND (SELECT count(*) FROM near) = 20000) c
  -- OFFSET 0: one by one, where a join could read all that is queued.
  LEFT JOIN LATERAL (
    SELECT r.state, r.attempt, w.host || ':' || w.pid AS worker, r.due_at
      FROM _data_manager_admin.run_queue r LEFT JOIN _data_manager_admin.worker w USING (worker_id)
      WHERE r.context_id = c.context_id OFFSET 0) q ON TRUE
  ORDER BY c.found DESC, c.context_id
