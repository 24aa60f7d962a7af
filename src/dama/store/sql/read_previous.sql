-- read_previous: the run of a task that was started last of those that have begun and ended, archived ones included.
-- In:    tasks text[]: its names; context_id bigint: another one than this; params jsonb: what its params contain;
--        defaults jsonb: of these, for runs that do not say them; types text[]: it has an event of one of these,
--        NULL for any run
-- Out:   context_id, latest_event_id bigint; none without one
-- Locks: none
-- By index from run to run, the newest first. The subqueries are no EXISTS, of which the planner may make a hash of
-- the events of all runs.
SELECT f.context_id, f.latest_event_id
  FROM unnest(%(tasks)s::text[]) t (task) CROSS JOIN LATERAL (
    (SELECT c.context_id, c.latest_event_id
      FROM _data_manager_admin.etl_context c
        JOIN _data_manager_admin.event_store_prototype i ON i.event_id = c.initial_event_id
      WHERE c.task = t.task AND c.context_id <> %(context_id)s::bigint AND c.status IN ('DONE', 'ERROR', 'CANCELLED')
        AND c.epoch > 0
        AND (%(types)s::text[] IS NULL OR (
          SELECT TRUE FROM _data_manager_admin.event_store_prototype e
            WHERE e.etl_context_id = c.context_id AND e.type = ANY (%(types)s::text[]) LIMIT 1))
        AND %(defaults)s::jsonb || coalesce(i.payload, '{}') @> %(params)s::jsonb
      ORDER BY c.context_id DESC LIMIT 1)
    UNION ALL
    (SELECT c.context_id, c.latest_event_id
      FROM _data_manager_admin.archived_context c
        JOIN _data_manager_admin.archived_event i ON i.etl_context_id = c.context_id AND i.version = 1
      WHERE c.task = t.task AND c.epoch > 0
        AND (%(types)s::text[] IS NULL OR (
          SELECT TRUE FROM _data_manager_admin.archived_event e
            WHERE e.etl_context_id = c.context_id AND e.type = ANY (%(types)s::text[]) LIMIT 1))
        AND %(defaults)s::jsonb || coalesce(i.payload, '{}') @> %(params)s::jsonb
      ORDER BY c.context_id DESC LIMIT 1)) f
  ORDER BY f.context_id DESC LIMIT 1
