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
-- Locks: the rows of their contexts, keys, then the rows of the runs, SKIP LOCKED: no other renewal ends them
-- once more, and one that is claimed at this moment has started in time.
CREATE OR REPLACE FUNCTION _data_manager_admin.expire_runs() RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  late   bigint[];
  batch  jsonb;
BEGIN
  late := ARRAY(SELECT q.context_id FROM _data_manager_admin.run_queue q WHERE q.expires_at < clock_timestamp());
  late := ARRAY(SELECT c.context_id FROM _data_manager_admin.etl_context c
    WHERE c.context_id = ANY (late) AND c.status = 'OPEN' ORDER BY c.context_id FOR NO KEY UPDATE SKIP LOCKED);
  PERFORM _data_manager_admin.lock_keys(ARRAY(
    SELECT q.limit_key FROM _data_manager_admin.run_queue q
      WHERE q.context_id = ANY (late) AND q.limit_key IS NOT NULL));
  SELECT jsonb_agg(jsonb_build_object('context_id', q.context_id, 'event', jsonb_build_object(
           'type', q.task || ':ERROR', 'error', TRUE, 'payload', jsonb_build_object(
             'name', 'ExpiredError', 'message', format('It did not start before %s.', q.expires_at)))))
    INTO batch
    FROM (SELECT r.context_id, r.task, r.expires_at FROM _data_manager_admin.run_queue r
            WHERE r.context_id = ANY (late) AND r.expires_at < clock_timestamp()
              AND r.attempt = 0 AND r.state IN ('queued', 'delayed', 'blocked')
            ORDER BY r.context_id FOR UPDATE SKIP LOCKED) q;
  IF batch IS NOT NULL THEN
    PERFORM _data_manager_admin.append_events(batch);
  END IF;
END
$$;

-- end_overdue: what has not ended by its deadline has failed, and what is left below it is cancelled.
-- Locks: the trees, the rows of their contexts and of those below; those that others have, next time
CREATE OR REPLACE FUNCTION _data_manager_admin.end_overdue() RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  late   bigint[];
  roots  bigint[];
  below  bigint[];
  batch  jsonb;
BEGIN
  late := ARRAY(SELECT q.context_id FROM _data_manager_admin.run_queue q WHERE q.deadline_at < clock_timestamp());
  -- A subtask that is being started would not be found below, so its tree is left for the next time.
  roots := ARRAY(SELECT r FROM (SELECT DISTINCT c.root_context_id AS r FROM _data_manager_admin.etl_context c
                                  WHERE c.context_id = ANY (late) ORDER BY 1) t
                   WHERE _data_manager_admin.try_lock_tree(r));
  late := ARRAY(SELECT c.context_id FROM _data_manager_admin.etl_context c
    WHERE c.context_id = ANY (late) AND c.root_context_id = ANY (roots) AND c.status = 'OPEN'
    ORDER BY c.context_id FOR NO KEY UPDATE SKIP LOCKED);
  below := ARRAY(SELECT c.context_id FROM _data_manager_admin.etl_context c
    WHERE c.parent_id = ANY (late) AND c.status = 'OPEN' AND c.context_id <> ALL (late));
  IF below <> '{}' THEN
    PERFORM _data_manager_admin.cancel_trees(
      below, '{"message": "the deadline of the task above has passed"}', '{}');
  END IF;
  SELECT jsonb_agg(jsonb_build_object('context_id', q.context_id, 'event', jsonb_build_object(
           'type', q.task || ':ERROR', 'error', TRUE, 'payload', jsonb_build_object(
             'name', 'DeadlineError', 'message', format('It had not ended by %s.', q.deadline_at)))))
    INTO batch
    FROM _data_manager_admin.run_queue q
    JOIN _data_manager_admin.etl_context c USING (context_id)
    WHERE q.context_id = ANY (late) AND c.status = 'OPEN';
  IF batch IS NOT NULL THEN
    PERFORM _data_manager_admin.append_events(batch);
    PERFORM _data_manager_admin.cancel_statements(late);
  END IF;
END
$$;

-- admit_blocked: as many blocked runs of each key are queued as its limit leaves room for. A run
-- holds its place from here until its context ends: through retries, waits and a change of workers.
-- In:    keys that lock_keys() has locked
CREATE OR REPLACE FUNCTION _data_manager_admin.admit_blocked(keys text[]) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
SET plan_cache_mode = force_generic_plan
SET enable_seqscan = off SET enable_bitmapscan = off SET enable_hashjoin = off SET enable_mergejoin = off
AS $$
DECLARE
  key      text;
  allowed  int;
  room     int;
BEGIN
  FOREACH key IN ARRAY keys LOOP
    SELECT q.key_limit INTO allowed FROM _data_manager_admin.run_queue q
      WHERE q.limit_key = key AND q.state = 'blocked'
      ORDER BY -q.priority::bigint, q.context_id LIMIT 1;
    CONTINUE WHEN NOT FOUND;
    room := allowed - (SELECT count(*) FROM (
      SELECT FROM _data_manager_admin.run_queue q
        WHERE q.limit_key = key AND q.state NOT IN ('blocked', 'delayed') LIMIT allowed) admitted);
    UPDATE _data_manager_admin.run_queue q SET state = 'queued'
      WHERE q.context_id = ANY (ARRAY(
        SELECT b.context_id FROM _data_manager_admin.run_queue b
          WHERE b.limit_key = key AND b.state = 'blocked'
          ORDER BY -b.priority::bigint, b.context_id LIMIT greatest(room, 0) FOR NO KEY UPDATE));
  END LOOP;
END
$$;

-- end_delays: what is due is queued; a run with a key that was not admitted yet asks for admission.
CREATE OR REPLACE FUNCTION _data_manager_admin.end_delays(moment timestamptz) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
SET plan_cache_mode = force_generic_plan
SET enable_seqscan = off SET enable_bitmapscan = off SET enable_hashjoin = off SET enable_mergejoin = off
AS $$
DECLARE
  keys text[];
BEGIN
  keys := ARRAY(
    SELECT DISTINCT due.limit_key
      FROM (SELECT d.limit_key, d.state FROM _data_manager_admin.run_queue d
              WHERE d.due_at <= moment ORDER BY d.due_at LIMIT 1000) due
      WHERE due.limit_key IS NOT NULL AND due.state = 'delayed');
  IF keys <> '{}' THEN
    PERFORM _data_manager_admin.lock_keys(keys);
  END IF;
  UPDATE _data_manager_admin.run_queue q
    SET state = CASE WHEN q.state = 'delayed' AND q.limit_key IS NOT NULL THEN 'blocked' ELSE 'queued' END,
        due_at = NULL
    WHERE q.context_id = ANY (ARRAY(
      SELECT d.context_id FROM _data_manager_admin.run_queue d
        WHERE d.due_at <= moment
          AND (d.state <> 'delayed' OR d.limit_key IS NULL OR d.limit_key = ANY (keys))
        ORDER BY d.due_at LIMIT 1000 FOR NO KEY UPDATE SKIP LOCKED));
  IF keys <> '{}' THEN
    PERFORM _data_manager_admin.admit_blocked(keys);
  END IF;
END
$$;
