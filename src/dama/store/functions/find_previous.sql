-- find_previous: the run of a task that was started last of those that have begun and ended; the archive apart.
-- In:    tasks: its names; context: another one than this; params: what its params contain; defaults: of these, for
--        runs that do not say them; types: it has an event of one of these, NULL for any run; before: only earlier ones
-- Out:   see read_previous.sql
-- By index from run to run, the newest first, 20,000 of each name at most. As a range of the index: an equality would
-- leave the planner the choice of that of all ids. The subquery is no EXISTS, of which the planner may make a hash of
-- the events of all runs.
CREATE OR REPLACE FUNCTION _data_manager_admin.find_previous(
  tasks text[], context bigint, params jsonb, defaults jsonb, types text[], before bigint)
RETURNS TABLE (context_id bigint, latest_event_id bigint, found boolean)
LANGUAGE sql STABLE ROWS 2 SET search_path = pg_catalog, pg_temp SET jit = off
SET enable_seqscan = off SET enable_sort = off SET enable_hashjoin = off SET enable_mergejoin = off SET enable_bitmapscan = off
AS $$
  WITH looked AS (
    SELECT f.context_id, f.latest_event_id, n.last
      FROM unnest(tasks) t (task)
      LEFT JOIN LATERAL (
        SELECT c.context_id, c.latest_event_id
          FROM (SELECT r.* FROM _data_manager_admin.etl_context r
                  WHERE (r.task, r.context_id) < (t.task, before) AND r.task >= t.task
                  ORDER BY r.task DESC, r.context_id DESC LIMIT 20000) c
          CROSS JOIN LATERAL (
            SELECT i.payload FROM _data_manager_admin.event_store_prototype i
              WHERE i.event_id = c.initial_event_id OFFSET 0) i
          WHERE c.context_id <> context AND c.status IN ('DONE', 'ERROR', 'CANCELLED') AND c.epoch > 0
            AND (types IS NULL OR (
              SELECT TRUE FROM _data_manager_admin.event_store_prototype e
                WHERE e.etl_context_id = c.context_id AND e.type = ANY (types) LIMIT 1))
            AND defaults || coalesce(i.payload, '{}') @> params
          ORDER BY c.task DESC, c.context_id DESC LIMIT 1) f ON TRUE
      LEFT JOIN LATERAL (
        SELECT r.context_id AS last FROM _data_manager_admin.etl_context r
          WHERE f.context_id IS NULL AND (r.task, r.context_id) < (t.task, before) AND r.task >= t.task
          ORDER BY r.task DESC, r.context_id DESC OFFSET 19999 LIMIT 1) n ON TRUE)
  (SELECT l.context_id, l.latest_event_id, TRUE FROM looked l
     WHERE l.context_id IS NOT NULL ORDER BY l.context_id DESC LIMIT 1)
  UNION ALL
  (SELECT l.last, NULL, FALSE FROM looked l WHERE l.last IS NOT NULL ORDER BY l.last DESC LIMIT 1)
$$;
