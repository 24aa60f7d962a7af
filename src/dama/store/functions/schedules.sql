-- schedules: the firings of a schedule are started by one of those who look, and once.

-- fire_schedule: start what is due, and move the schedule on, all or nothing.
-- In:    seen: the next firing as the caller knew it; batch: as of start_contexts(); latest: the
--        last of the firings; following: the next one; missed: how many are not made up for
-- Out:   the contexts that were started; NULL when somebody else came first, or it was paused
-- Locks: the row of the schedule, then as start_contexts()
CREATE OR REPLACE FUNCTION _data_manager_admin.fire_schedule(
  schedule text, seen timestamptz, batch jsonb, latest timestamptz, following timestamptz, missed int)
RETURNS bigint[]
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  contexts bigint[] := '{}';
BEGIN
  UPDATE _data_manager_admin.schedule s
    SET next_at = following, last_at = coalesce(latest, s.last_at), failure = NULL
    WHERE s.name = schedule AND s.next_at = seen AND NOT s.paused;
  IF NOT FOUND THEN
    RETURN NULL;
  END IF;
  IF batch <> '[]' THEN
    contexts := ARRAY(SELECT c.context_id FROM _data_manager_admin.start_contexts(batch) c WHERE c.is_new);
  END IF;
  UPDATE _data_manager_admin.schedule s
    SET started = s.started + cardinality(contexts),
        skipped = s.skipped + missed + jsonb_array_length(batch) - cardinality(contexts)
    WHERE s.name = schedule;
  RETURN contexts;
END
$$;
