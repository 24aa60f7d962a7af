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

-- slice_state: the cached state of a slice that is nearest to an event of a context (NULL: its latest), and not after it.
-- Out:   the version that it is of; behind: how many events follow up to that event, 0 for the state itself; none for
--        a slice that was never read there. `dama state` folds to the end and caches on its way
CREATE OR REPLACE FUNCTION _data_manager_admin.slice_state(context bigint, slice text, event bigint DEFAULT NULL)
RETURNS TABLE (version bigint, behind bigint, state jsonb)
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
  WITH at AS MATERIALIZED (
    SELECT coalesce(_data_manager_admin.version_at(context, event), c.version) AS version
      FROM _data_manager_admin.etl_context c WHERE c.context_id = context)
  SELECT k.version, at.version - k.version, k.state::jsonb
    FROM at CROSS JOIN LATERAL (
      SELECT r.version, r.slice_version, r.state FROM _data_manager_admin.slice_rung r
        WHERE r.context_id = context AND r.slice = slice_state.slice AND r.version <= at.version
      UNION ALL
      SELECT s.version, s.slice_version, s.state FROM _data_manager_admin.slice_snapshot s
        WHERE s.context_id = context AND s.slice = slice_state.slice AND s.version <= at.version
      ORDER BY slice_version DESC, version DESC LIMIT 1) k
$$;

COMMENT ON FUNCTION _data_manager_admin.slice_state IS
  'The cached state of a slice nearest to an event, and how many events it is behind: SELECT * FROM slice_state(42, ''rows_loaded'', 1234).';

-- diff_state: where two JSON values differ; paths are JSON pointers, the value is SQL NULL on the side that has none.
CREATE OR REPLACE FUNCTION _data_manager_admin.diff_state(before jsonb, after jsonb)
RETURNS TABLE (path text, before_value jsonb, after_value jsonb)
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
  WITH RECURSIVE pair AS (
    SELECT '' AS path, before AS b, after AS a
    UNION ALL
    SELECT p.path || '/' || replace(replace(k.key, '~', '~0'), '/', '~1'), k.b, k.a
      FROM pair p CROSS JOIN LATERAL (
        SELECT key, x.value AS b, y.value AS a
          FROM jsonb_each(CASE WHEN jsonb_typeof(p.b) = 'object' THEN p.b ELSE '{}' END) x
          FULL JOIN jsonb_each(CASE WHEN jsonb_typeof(p.a) = 'object' THEN p.a ELSE '{}' END) y USING (key)
          WHERE jsonb_typeof(p.b) = 'object' AND jsonb_typeof(p.a) = 'object'
        UNION ALL
        SELECT (coalesce(x.place, y.place) - 1)::text, x.value, y.value
          FROM jsonb_array_elements(CASE WHEN jsonb_typeof(p.b) = 'array' THEN p.b ELSE '[]' END) WITH ORDINALITY x (value, place)
          FULL JOIN jsonb_array_elements(CASE WHEN jsonb_typeof(p.a) = 'array' THEN p.a ELSE '[]' END) WITH ORDINALITY y (value, place)
            ON x.place = y.place
          WHERE jsonb_typeof(p.b) = 'array' AND jsonb_typeof(p.a) = 'array') k
      WHERE p.b IS DISTINCT FROM p.a)
  SELECT p.path, p.b, p.a FROM pair p
    WHERE p.b IS DISTINCT FROM p.a
      AND (jsonb_typeof(p.b) IS DISTINCT FROM jsonb_typeof(p.a) OR jsonb_typeof(p.b) NOT IN ('object', 'array'))
    ORDER BY p.path
$$;

COMMENT ON FUNCTION _data_manager_admin.diff_state IS
  'Where two JSON values differ: SELECT * FROM diff_state((SELECT state FROM slice_state(42, ''rows'')), (SELECT state FROM slice_state(43, ''rows''))).';
