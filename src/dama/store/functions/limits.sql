-- limits: how much of a queue may be started, and what was not started in time.

-- allowed_starts: how many runs of a queue may be started now, by its settings. The row is locked, so
-- that claims of a limited queue come one after the other; a queue without settings has no row.
CREATE OR REPLACE FUNCTION _data_manager_admin.allowed_starts(name text, demand int) RETURNS int
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  setting  record;
  allowed  int := demand;
BEGIN
  SELECT s.paused, s.concurrency, s.rate, least(greatest(s.rate, 1),
         s.allowance + s.rate * extract(epoch FROM clock_timestamp() - s.allowed_at)) AS allowance
    INTO setting FROM _data_manager_admin.queue_setting s WHERE s.queue = name FOR UPDATE;
  IF NOT FOUND THEN
    RETURN demand;
  END IF;
  IF setting.paused THEN
    RETURN 0;
  END IF;
  IF setting.concurrency IS NOT NULL THEN
    allowed := least(allowed, setting.concurrency - (
      SELECT count(*) FROM _data_manager_admin.run_queue q WHERE q.queue = name AND q.state = 'running')::int);
  END IF;
  IF setting.rate IS NOT NULL THEN
    allowed := least(allowed, floor(setting.allowance)::int);
  END IF;
  RETURN greatest(allowed, 0);
END
$$;

-- spend_allowance: so many runs of a queue with a rate were started.
CREATE OR REPLACE FUNCTION _data_manager_admin.spend_allowance(name text, spent int) RETURNS void
LANGUAGE sql SET search_path = pg_catalog, pg_temp AS $$
  UPDATE _data_manager_admin.queue_setting s
    SET allowance = least(greatest(s.rate, 1), s.allowance
          + s.rate * extract(epoch FROM clock_timestamp() - s.allowed_at)) - spent,
        allowed_at = clock_timestamp()
    WHERE s.queue = name AND s.rate IS NOT NULL
$$;

-- expire_runs: runs that did not start in time have failed.
-- Locks: the rows of their contexts, then those of the runs, SKIP LOCKED: no other renewal ends them
-- once more, and one that is claimed at this moment has started in time.
CREATE OR REPLACE FUNCTION _data_manager_admin.expire_runs() RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  late   bigint[];
  batch  jsonb;
BEGIN
  late := ARRAY(SELECT q.context_id FROM _data_manager_admin.run_queue q WHERE q.expires_at < clock_timestamp());
  late := ARRAY(SELECT c.context_id FROM _data_manager_admin.etl_context c
    WHERE c.context_id = ANY (late) ORDER BY c.context_id FOR NO KEY UPDATE SKIP LOCKED);
  SELECT jsonb_agg(jsonb_build_object('context_id', q.context_id, 'event', jsonb_build_object(
           'type', q.task || ':ERROR', 'error', TRUE, 'payload', jsonb_build_object(
             'name', 'ExpiredError', 'message', format('It did not start before %s.', q.expires_at)))))
    INTO batch
    FROM (SELECT r.context_id, r.task, r.expires_at FROM _data_manager_admin.run_queue r
            WHERE r.context_id = ANY (late) AND r.expires_at < clock_timestamp()
              AND r.attempt = 0 AND r.state IN ('queued', 'delayed')
            ORDER BY r.context_id FOR UPDATE SKIP LOCKED) q;
  IF batch IS NOT NULL THEN
    PERFORM _data_manager_admin.append_events(batch);
  END IF;
END
$$;
