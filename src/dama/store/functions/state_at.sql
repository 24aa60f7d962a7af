-- version_at: which version a context had after an event; NULL for an event of NULL.
-- Ids are drawn before the lock of a context, so that they may not be in the order of its versions. An event
-- of another context stands for all events of this one that are before the first with a greater id.
CREATE OR REPLACE FUNCTION _data_manager_admin.version_at(context bigint, event bigint) RETURNS bigint
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
  SELECT CASE WHEN event IS NOT NULL THEN coalesce(
    (SELECT e.version FROM _data_manager_admin.event_store_prototype e
       WHERE e.event_id = event AND e.etl_context_id = context),
    (SELECT min(e.version) - 1 FROM _data_manager_admin.event_store_prototype e
       WHERE e.etl_context_id = context AND e.event_id > event),
    (SELECT c.version FROM _data_manager_admin.etl_context c WHERE c.context_id = context),
    0) END
$$;

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
    WHERE e.etl_context_id = context AND e.version <= coalesce(_data_manager_admin.version_at(context, event), e.version)
    HAVING count(*) > 0
$$;
