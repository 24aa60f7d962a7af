-- read_checks: what the checks of a run found, and those of the runs of its task before it.
-- In:    context_id bigint; task text: its task; most int: so many runs before it; events int: so many of the latest
--        events of each run are looked at
-- Out:   context_id, type (of the event of a check), created_at, count; the latest first. Nothing of earlier runs
--        where the run itself has no check
-- Locks: none
WITH own AS MATERIALIZED (
  SELECT e.etl_context_id, e.event_id, e.type, e.created_at, e.payload
    FROM _data_manager_admin.etl_context c
    CROSS JOIN LATERAL (
      SELECT s.* FROM _data_manager_admin.event_store_prototype s
        WHERE s.etl_context_id = c.context_id AND s.version > c.version - %(events)s::int AND s.version <= c.version
        OFFSET 0) e
    WHERE c.context_id = %(context_id)s::bigint AND starts_with(e.type, %(task)s::text || '/check:')),
earlier AS (
  SELECT e.etl_context_id, e.event_id, e.type, e.created_at, e.payload
    FROM (SELECT r.context_id, r.version FROM _data_manager_admin.etl_context r
            -- As a range of the index: an equality would leave the planner the choice of that of all ids.
            WHERE (r.task, r.context_id) < (%(task)s::text, %(context_id)s::bigint) AND r.task >= %(task)s::text
              AND EXISTS (SELECT FROM own)
            ORDER BY r.task DESC, r.context_id DESC LIMIT %(most)s::int) c
    CROSS JOIN LATERAL (
      SELECT s.* FROM _data_manager_admin.event_store_prototype s
        WHERE s.etl_context_id = c.context_id AND s.version > c.version - %(events)s::int AND s.version <= c.version
        OFFSET 0) e
    WHERE starts_with(e.type, %(task)s::text || '/check:'))
SELECT f.etl_context_id, f.type, f.created_at, n.count::bigint
  FROM (SELECT * FROM own UNION ALL SELECT * FROM earlier) f
  CROSS JOIN LATERAL (
    SELECT coalesce(_data_manager_admin.number_in(f.payload, 'count', 1e18),
                    _data_manager_admin.number_in(f.payload -> 'data', 'count', 1e18)) AS count) n
  WHERE n.count IS NOT NULL
  ORDER BY f.etl_context_id DESC, f.event_id DESC
