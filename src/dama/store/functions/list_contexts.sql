-- list_contexts: contexts that a filter fits, newest first, a window of them.
-- In:    filter jsonb, any of: roots (true: none that another one started, and no acts), status, task (* in it is any text), service;
--        of the run: state, queue, worker; of the start: user, schedule, params (an object that its params contain); since, until: when
--        it was created; before bigint: only older ones, NULL for any; demand int: at most so many
-- Out:   context_id of each, found TRUE. When fewer than demand were found and there are more to look at, a last row
--        with found FALSE: where to look on, that one is not among them
-- Locks: none
-- One call looks at 20,000 contexts at most, along the index that fits the filter best, so that a filter which
-- nothing fits takes no longer in a large store.

-- along: the contexts c of one task or status, by the index of that column. An equality would leave the planner the
-- choice of another index in the order of ids, along which the wanted ones may be far apart.
CREATE OR REPLACE FUNCTION _data_manager_admin.along(name text, value text) RETURNS text
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
  SELECT format('(c.%1$I, c.context_id) < (%2$L, $2) AND c.%1$I >= %2$L', name, value)
      || CASE name WHEN 'status' THEN ' AND c.status <> ''DONE''' ELSE '' END
      || format(' ORDER BY c.%I DESC, c.context_id DESC', name)
$$;

CREATE OR REPLACE FUNCTION _data_manager_admin.list_contexts(filter jsonb, before bigint, demand int)
RETURNS TABLE (context_id bigint, found boolean)
LANGUAGE plpgsql STABLE ROWS 50 SET search_path = pg_catalog, pg_temp SET jit = off
SET enable_seqscan = off SET enable_sort = off SET enable_hashjoin = off SET enable_mergejoin = off SET enable_bitmapscan = off
SET join_collapse_limit = 1
AS $$
#variable_conflict use_column
DECLARE
  pattern  text := CASE WHEN filter ->> 'task' LIKE '%*%' THEN
    replace(regexp_replace(filter ->> 'task', '([\\%_])', '\\\1', 'g'), '*', '%') END;
  is_short boolean := filter ? 'task' AND pattern IS NULL AND coalesce(filter ->> 'status', '') NOT IN ('ERROR', 'CANCELLED');
  is_open  boolean := filter ?| '{state,queue}';  -- only what has not ended has a run
  near     text;  -- those to look at
  tests    text := 'TRUE';
  last     bigint;
BEGIN
  near := CASE
    WHEN filter ? 'worker' THEN
      'c.context_id = ANY (ARRAY(SELECT q.context_id FROM _data_manager_admin.run_queue q
         WHERE q.worker_id = ($1 ->> ''worker'')::bigint))'
      || ' AND c.context_id < $2 ORDER BY c.context_id DESC'
    WHEN is_short THEN _data_manager_admin.along('task', filter ->> 'task')
    WHEN filter ->> 'status' <> 'DONE' THEN _data_manager_admin.along('status', filter ->> 'status')
    WHEN is_open THEN _data_manager_admin.along('status', 'OPEN')
    WHEN filter -> 'roots' = 'true' THEN 'c.parent_id IS NULL AND c.context_id < $2 ORDER BY c.context_id DESC'
    ELSE 'c.context_id < $2 ORDER BY c.context_id DESC' END;
  near := 'SELECT c.* FROM _data_manager_admin.etl_context c WHERE ' || near || ' LIMIT 20000';
  tests := concat_ws(' AND ',
    -- What people did beside contexts was not started by anybody either; with all others it is listed.
    CASE WHEN filter -> 'roots' = 'true' THEN 'c.parent_id IS NULL AND (c.task IS NOT NULL OR c.context_id <> ALL (ARRAY(SELECT a.context_id FROM _data_manager_admin.act_context a)))' END,
    CASE WHEN filter ? 'status' THEN 'c.status = $1 ->> ''status''' END,
    CASE WHEN pattern IS NOT NULL THEN 'c.task LIKE $4' WHEN filter ? 'task' THEN 'c.task = $1 ->> ''task''' END,
    CASE WHEN filter ? 'service' THEN 'starts_with(c.task, ($1 ->> ''service'') || ''.'')' END,
    CASE WHEN filter ? 'since' THEN 'c.created_at >= ($1 ->> ''since'')::timestamptz' END,
    CASE WHEN filter ? 'until' THEN 'c.created_at < ($1 ->> ''until'')::timestamptz' END,
    -- Scalar: a semi-join could be planned from the other side, over all that there are.
    CASE WHEN filter ?| '{state,queue,worker}' THEN '(SELECT ' || concat_ws(' AND ',
      CASE WHEN filter ? 'state' THEN 'q.state = $1 ->> ''state''' END,
      CASE WHEN filter ? 'queue' THEN 'q.queue = $1 ->> ''queue''' END,
      CASE WHEN filter ? 'worker' THEN 'q.worker_id = ($1 ->> ''worker'')::bigint' END)
      || ' FROM _data_manager_admin.run_queue q WHERE q.context_id = c.context_id)' END,
    CASE WHEN filter ?| '{user,schedule,params}' THEN '(SELECT ' || concat_ws(' AND ',
      CASE WHEN filter ? 'user' THEN 'e.meta ->> ''user'' = $1 ->> ''user''' END,
      CASE WHEN filter ? 'schedule' THEN 'e.meta ->> ''schedule'' = $1 ->> ''schedule''' END,
      CASE WHEN filter ? 'params' THEN 'e.payload @> ($1 -> ''params'')' END)
      || ' FROM _data_manager_admin.event_store_prototype e WHERE e.event_id = c.initial_event_id)' END,
    'TRUE');
  -- EXECUTE: planned for this filter.
  RETURN QUERY EXECUTE
    'SELECT c.context_id::bigint, TRUE FROM (' || near || ') c WHERE ' || tests || ' LIMIT $3'
    USING filter, coalesce(before, 9223372036854775807), demand, pattern;
  GET DIAGNOSTICS last = ROW_COUNT;
  IF last < demand THEN
    EXECUTE 'SELECT c.context_id FROM (' || near || ') c OFFSET 19999' INTO last
      USING filter, coalesce(before, 9223372036854775807);
    RETURN QUERY SELECT last, FALSE WHERE last IS NOT NULL;
  END IF;
END
$$;
