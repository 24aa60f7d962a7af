-- read_log: events in the order of the log. Call sequence_log() first.
-- In:    after, up_to bigint: positions, up_to may be NULL; demand int: rows at most
--        types text[], prefix text, root bigint, context bigint: which events; NULL for any
--        subscription text, lane int: only roots of the lane, without its parked contexts; or NULL
-- Out:   position, event text (JSON). When fewer than demand were found the last row has no event:
--        its position is how far the log was looked through
-- Locks: none
-- One call looks at 20,000 positions at most, or at as many events of the one context, so that a filter nothing fits never takes long.
-- OFFSET 0: the joins are executed as they are written. The planner takes a lane for a handful of contexts, and would
-- read the whole history of each; for a type that nothing has, it would look at all events.
CREATE OR REPLACE FUNCTION _data_manager_admin.read_log(
  after bigint, up_to bigint, demand int, types text[], prefix text, root bigint, context bigint,
  subscription text, lane int)
RETURNS TABLE (place bigint, event text)
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp SET jit = off
SET plan_cache_mode = force_custom_plan
SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off SET enable_bitmapscan = off
SET join_collapse_limit = 1
AS $$
DECLARE
  reach  bigint;
  among  int;
  seen   int;
  begun  bigint;
BEGIN
  reach := least(up_to, CASE WHEN context IS NULL THEN after + 20000 END,
    (SELECT s.position FROM _data_manager_admin.event_log_state s ORDER BY s.position DESC LIMIT 1));
  reach := greatest(reach, after);
  among := (SELECT s.lanes FROM _data_manager_admin.subscription s WHERE s.name = subscription);
  IF context IS NOT NULL THEN
    begun := _data_manager_admin.version_at_position(context, after);
    reach := least(reach, (SELECT l.position FROM _data_manager_admin.event_log l WHERE l.event_id = (
      SELECT e.event_id FROM _data_manager_admin.event_store_prototype e
        WHERE e.etl_context_id = context AND e.version >= begun + 20000 ORDER BY e.version LIMIT 1)));
    RETURN QUERY
      SELECT l.position, '{"position":' || l.position || ',"root_context_id":' || c.root_context_id || ','
                         || substr(_data_manager_admin.event_json(e.event), 2)
        FROM (SELECT e AS event, e.event_id, e.type, e.version FROM _data_manager_admin.event_store_prototype e
                WHERE e.etl_context_id = context AND e.version > begun ORDER BY e.version LIMIT 20000) e
        CROSS JOIN LATERAL (
          SELECT l.position FROM _data_manager_admin.event_log l WHERE l.event_id = e.event_id OFFSET 0) l
        CROSS JOIN (SELECT c.root_context_id FROM _data_manager_admin.etl_context c WHERE c.context_id = context) c
        WHERE l.position <= reach
          AND (types IS NULL OR e.type = ANY (types))
          AND (prefix IS NULL OR starts_with(e.type, prefix))
          AND (root IS NULL OR c.root_context_id = root)
        ORDER BY e.version LIMIT demand;
  ELSE
    RETURN QUERY
      SELECT l.position, '{"position":' || l.position || ',"root_context_id":' || c.root_context_id || ','
                         || substr(_data_manager_admin.event_json(e.event), 2)
        FROM _data_manager_admin.event_log l
        CROSS JOIN LATERAL (
          SELECT e AS event, e.etl_context_id FROM _data_manager_admin.event_store_prototype e
            WHERE e.event_id = l.event_id
              AND (types IS NULL OR e.type = ANY (types))
              AND (prefix IS NULL OR starts_with(e.type, prefix)) OFFSET 0) e
        CROSS JOIN LATERAL (
          SELECT c.root_context_id FROM _data_manager_admin.etl_context c
            WHERE c.context_id = e.etl_context_id OFFSET 0) c
        WHERE l.position > after AND l.position <= reach
          AND (root IS NULL OR c.root_context_id = root)
          AND (lane IS NULL OR c.root_context_id % among = lane)
          AND (subscription IS NULL OR NOT EXISTS (
                SELECT FROM _data_manager_admin.subscription_parked p
                  WHERE p.name = subscription AND p.context_id = e.etl_context_id))
        ORDER BY l.position LIMIT demand;
  END IF;
  GET DIAGNOSTICS seen = ROW_COUNT;
  IF seen < demand THEN
    RETURN QUERY SELECT reach, NULL::text;
  END IF;
END
$$;
