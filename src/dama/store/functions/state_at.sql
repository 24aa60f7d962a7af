-- state_at: the life cycle of a context after one of its events (NULL: after the latest).
CREATE OR REPLACE FUNCTION _data_manager_admin.state_at(context bigint, event bigint DEFAULT NULL)
RETURNS TABLE (status text, version bigint, attempts bigint, steps_done bigint, latest_type text, latest_at timestamptz)
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
  SELECT (array_agg(_data_manager_admin.status_after(e.type) ORDER BY e.version DESC))[1],
         max(e.version), count(*) FILTER (WHERE e.type LIKE '%:STARTED'),
         count(*) FILTER (WHERE e.type LIKE '%/%:DONE'),
         (array_agg(e.type ORDER BY e.version DESC))[1],
         (array_agg(e.created_at ORDER BY e.version DESC))[1]
    FROM _data_manager_admin.event_store_prototype e
    WHERE e.etl_context_id = context AND e.event_id <= coalesce(event, e.event_id)
    HAVING count(*) > 0
$$;
