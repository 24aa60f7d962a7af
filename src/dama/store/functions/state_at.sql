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

-- version_at_position: which version a context had at a position of the log: how many of its events are placed up to it.
-- The log has the events of a context in the order of their versions, so it takes a few looks, by halves.
CREATE OR REPLACE FUNCTION _data_manager_admin.version_at_position(context bigint, place bigint) RETURNS bigint
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  low     bigint := 0;
  high    bigint := coalesce((SELECT c.version FROM _data_manager_admin.etl_context c WHERE c.context_id = context), 0);
  middle  bigint;
BEGIN
  WHILE low < high LOOP
    middle := (low + high + 1) / 2;
    IF (SELECT l.position <= place FROM _data_manager_admin.event_log l WHERE l.event_id = (
          SELECT e.event_id FROM _data_manager_admin.event_store_prototype e
            WHERE e.etl_context_id = context AND e.version >= middle ORDER BY e.version LIMIT 1)) THEN
      low := middle;
    ELSE  -- later, or not placed yet
      high := middle - 1;
    END IF;
  END LOOP;
  RETURN low;
END
$$;

-- state_at: the life cycle of a context after one of its events (NULL: after the latest).
CREATE OR REPLACE FUNCTION _data_manager_admin.state_at(context bigint, event bigint DEFAULT NULL)
RETURNS TABLE (status text, version bigint, attempts bigint, steps_done bigint, latest_type text, latest_at timestamptz)
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
  -- The version once, not for each event; the latest by index, not by a sort of all.
  WITH at AS MATERIALIZED (SELECT coalesce(_data_manager_admin.version_at(context, event), 9223372036854775807) AS version)
  SELECT _data_manager_admin.status_after(l.type), l.version, n.attempts, n.steps_done, l.type, l.created_at
    FROM at
    CROSS JOIN LATERAL (
      SELECT e.type, e.version, e.created_at FROM _data_manager_admin.event_store_prototype e
        WHERE e.etl_context_id = context AND e.version <= at.version ORDER BY e.version DESC LIMIT 1) l
    CROSS JOIN LATERAL (
      SELECT count(*) FILTER (WHERE e.type LIKE '%:STARTED') AS attempts,
             count(*) FILTER (WHERE e.type LIKE '%/%:DONE') AS steps_done
        FROM _data_manager_admin.event_store_prototype e
        WHERE e.etl_context_id = context AND e.version <= at.version) n
$$;
