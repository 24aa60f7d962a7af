-- limits: what was not started in time, what ends too late, and places of keys that are free.
-- What ends or wakes runs here is upkeep: in batches, each a transaction of its own, and it never waits:
-- what somebody else has locked is left to the next time.

-- late_from: from which times on a batch looks for what is late: from the oldest, and from anywhere later.
-- Somebody may have locked as many as a batch takes, and more; the others must not wait behind them.
-- In:    the times of the oldest and of the latest that are late; NULL: nothing is
CREATE OR REPLACE FUNCTION _data_manager_admin.late_from(oldest timestamptz, latest timestamptz) RETURNS timestamptz[]
LANGUAGE sql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
  SELECT CASE WHEN oldest <= latest THEN ARRAY[oldest, oldest + random() * (latest - oldest)] ELSE '{}' END
$$;

-- end_late: contexts fail, with what their run says of it. One that cannot be ended, whatever is wrong
-- with it, keeps no other from its end, and is tried again after a minute.
-- In:    what lock_ends() has locked; name, message: of the error, with %s for the time that has passed;
--        the column of run_queue that has this time
-- Out:   those that have ended
CREATE OR REPLACE FUNCTION _data_manager_admin.end_late(
  contexts bigint[], name text, message text, overdue boolean) RETURNS bigint[]
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  items  jsonb;
  item   jsonb;
  ended  bigint[] := '{}';
BEGIN
  SELECT jsonb_agg(jsonb_build_object('context_id', q.context_id, 'event', jsonb_build_object(
           'type', q.task || ':ERROR', 'error', TRUE, 'payload', jsonb_build_object(
             'name', end_late.name,
             'message', format(message, CASE WHEN overdue THEN q.deadline_at ELSE q.expires_at END)))))
    INTO items FROM _data_manager_admin.run_queue q WHERE q.context_id = ANY (contexts);
  IF items IS NULL THEN
    RETURN '{}';
  END IF;
  -- What failed before it ever began is a run of ours like any other: no late event reopens it.
  UPDATE _data_manager_admin.run_queue q SET epoch = 1 WHERE q.context_id = ANY (contexts) AND q.epoch = 0;
  BEGIN
    PERFORM _data_manager_admin.append_events(items);
    RETURN contexts;
  EXCEPTION WHEN OTHERS THEN
    RAISE WARNING 'dama: what is late is ended one by one: %', SQLERRM;
  END;
  FOR item IN SELECT jsonb_array_elements(items) LOOP
    BEGIN
      PERFORM _data_manager_admin.append_events(jsonb_build_array(item));
      ended := ended || (item ->> 'context_id')::bigint;
    EXCEPTION WHEN OTHERS THEN
      CONTINUE WHEN SQLSTATE = '55P03';  -- somebody has locked what its end takes: the next second
      RAISE WARNING 'dama: context % is late and was not ended: %', item ->> 'context_id', SQLERRM;
      UPDATE _data_manager_admin.run_queue q
        SET expires_at = CASE WHEN overdue THEN q.expires_at ELSE clock_timestamp() + interval '1 minute' END,
            deadline_at = CASE WHEN overdue THEN clock_timestamp() + interval '1 minute' ELSE q.deadline_at END
        WHERE q.context_id = (item ->> 'context_id')::bigint;
    END;
  END LOOP;
  RETURN ended;
END
$$;

-- expire_runs: runs that did not start in time have failed; one that is claimed at this moment has started.
-- Out:   how many were ended
CREATE OR REPLACE FUNCTION _data_manager_admin.expire_runs(most int) RETURNS int
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET enable_seqscan = off AS $$
DECLARE
  moment  timestamptz := clock_timestamp();
  since   timestamptz;
  late    bigint[] := '{}';
BEGIN
  FOREACH since IN ARRAY _data_manager_admin.late_from(
    (SELECT min(q.expires_at) FROM _data_manager_admin.run_queue q WHERE q.expires_at IS NOT NULL),
    (SELECT max(q.expires_at) FROM _data_manager_admin.run_queue q WHERE q.expires_at < moment))
  LOOP
    late := late || ARRAY(SELECT q.context_id FROM _data_manager_admin.run_queue q
      WHERE q.expires_at >= since AND q.expires_at < moment
        AND q.attempt = 0 AND q.state IN ('queued', 'delayed', 'blocked')
      ORDER BY q.expires_at LIMIT (most + 1) / 2 FOR UPDATE SKIP LOCKED);
  END LOOP;
  RETURN cardinality(_data_manager_admin.end_late(
    _data_manager_admin.lock_ends(late), 'ExpiredError', 'It did not start before %s.', FALSE));
END
$$;

-- end_overdue: what has not ended by its deadline has failed; end_trees() cancels what is left below it.
-- Out:   how many were ended
CREATE OR REPLACE FUNCTION _data_manager_admin.end_overdue(most int) RETURNS int
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET enable_seqscan = off AS $$
DECLARE
  moment  timestamptz := clock_timestamp();
  since   timestamptz;
  late    bigint[] := '{}';
BEGIN
  FOREACH since IN ARRAY _data_manager_admin.late_from(
    (SELECT min(q.deadline_at) FROM _data_manager_admin.run_queue q WHERE q.deadline_at IS NOT NULL),
    (SELECT max(q.deadline_at) FROM _data_manager_admin.run_queue q WHERE q.deadline_at < moment))
  LOOP
    late := late || ARRAY(SELECT q.context_id FROM _data_manager_admin.run_queue q
      WHERE q.deadline_at >= since AND q.deadline_at < moment
      ORDER BY q.deadline_at LIMIT (most + 1) / 2 FOR UPDATE SKIP LOCKED);
  END LOOP;
  late := _data_manager_admin.end_late(
    _data_manager_admin.lock_ends(late), 'DeadlineError', 'It had not ended by %s.', TRUE);
  -- Whether or not it seems to have subtasks: one may be about to be started.
  INSERT INTO _data_manager_admin.ending_tree (context_id) SELECT l FROM unnest(late) l ON CONFLICT DO NOTHING;
  PERFORM _data_manager_admin.cancel_statements(late);
  RETURN cardinality(late);
END
$$;

-- end_trees: some of what is open below contexts that passed their deadline is cancelled.
-- Out:   how many were cancelled
CREATE OR REPLACE FUNCTION _data_manager_admin.end_trees(most int) RETURNS int
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  above  record;
  ids    bigint[];
  ended  int := 0;
BEGIN
  FOR above IN
    SELECT t.context_id, c.root_context_id FROM _data_manager_admin.ending_tree t
      LEFT JOIN _data_manager_admin.etl_context c USING (context_id)
      ORDER BY t.since LIMIT 100 FOR UPDATE OF t SKIP LOCKED
  LOOP
    -- Alone with the tree: a subtask that is being started would not be found. One that is archived has ended.
    CONTINUE WHEN above.root_context_id IS NOT NULL AND NOT _data_manager_admin.try_lock_tree(above.root_context_id);
    ids := ARRAY(
      WITH RECURSIVE below AS (
        SELECT c.context_id, c.status FROM _data_manager_admin.etl_context c WHERE c.parent_id = above.context_id
        UNION
        SELECT c.context_id, c.status FROM _data_manager_admin.etl_context c JOIN below b ON c.parent_id = b.context_id)
      SELECT c.context_id FROM below b JOIN _data_manager_admin.etl_context c ON c.context_id = b.context_id
        WHERE b.status = 'OPEN' LIMIT most FOR NO KEY UPDATE OF c SKIP LOCKED);
    IF ids <> '{}' THEN
      ids := _data_manager_admin.lock_ends(ids);
      PERFORM _data_manager_admin.append_cancelled(ids, '{"message": "the deadline of the task above has passed"}', '{}')
        WHERE ids <> '{}';
      ended := ended + cardinality(ids);
      most := most - cardinality(ids);
    END IF;
    EXIT WHEN most <= 0;
    -- In the same transaction as its end: what a person resumes afterwards is not ended again.
    DELETE FROM _data_manager_admin.ending_tree t WHERE t.context_id = above.context_id AND NOT EXISTS (
      WITH RECURSIVE below AS (
        SELECT c.context_id, c.status FROM _data_manager_admin.etl_context c WHERE c.parent_id = above.context_id
        UNION
        SELECT c.context_id, c.status FROM _data_manager_admin.etl_context c JOIN below b ON c.parent_id = b.context_id)
      SELECT FROM below b WHERE b.status = 'OPEN');
  END LOOP;
  RETURN ended;
END
$$;

-- admit_blocked: as many blocked runs of each key are queued as its limit leaves room for. A run
-- holds its place from here until its context ends: through retries, waits and a change of workers.
-- In:    keys that lock_keys() has locked
-- It waits for no run: whoever ends one is not stopped by somebody who has locked another. What is left is
-- admitted by admit_late().
CREATE OR REPLACE FUNCTION _data_manager_admin.admit_blocked(keys text[]) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
SET plan_cache_mode = force_generic_plan
SET enable_seqscan = off SET enable_bitmapscan = off SET enable_hashjoin = off SET enable_mergejoin = off
AS $$
DECLARE
  key      text;
  allowed  int;
  room     int;
  given    int;
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
          ORDER BY -b.priority::bigint, b.context_id LIMIT greatest(room, 0) FOR NO KEY UPDATE SKIP LOCKED));
    GET DIAGNOSTICS given = ROW_COUNT;
    CONTINUE WHEN given >= room;
    INSERT INTO _data_manager_admin.key_with_room (limit_key)
      SELECT key WHERE EXISTS (
        SELECT FROM _data_manager_admin.run_queue b WHERE b.limit_key = key AND b.state = 'blocked')
      ON CONFLICT DO NOTHING;
  END LOOP;
END
$$;

-- end_delays: what is due is queued; a run with a key that was not admitted yet asks for admission.
-- Out:   how many were due
CREATE OR REPLACE FUNCTION _data_manager_admin.end_delays(most int) RETURNS int
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
SET plan_cache_mode = force_generic_plan
SET enable_seqscan = off SET enable_bitmapscan = off SET enable_hashjoin = off SET enable_mergejoin = off
AS $$
DECLARE
  moment  timestamptz := clock_timestamp();
  since   timestamptz;
  ids     bigint[] := '{}';
  keys    text[];
  ended   int;
BEGIN
  FOREACH since IN ARRAY _data_manager_admin.late_from(
    (SELECT min(d.due_at) FROM _data_manager_admin.run_queue d WHERE d.due_at IS NOT NULL),
    (SELECT max(d.due_at) FROM _data_manager_admin.run_queue d WHERE d.due_at <= moment))
  LOOP
    ids := ids || ARRAY(SELECT d.context_id FROM _data_manager_admin.run_queue d
      WHERE d.due_at >= since AND d.due_at <= moment
      ORDER BY d.due_at LIMIT (most + 1) / 2 FOR NO KEY UPDATE SKIP LOCKED);
  END LOOP;
  -- Keys come before runs, but who only tries waits for nobody.
  keys := _data_manager_admin.try_lock_keys(ARRAY(
    SELECT DISTINCT d.limit_key FROM _data_manager_admin.run_queue d
      WHERE d.context_id = ANY (ids) AND d.limit_key IS NOT NULL AND d.state = 'delayed'));
  UPDATE _data_manager_admin.run_queue q
    SET state = CASE WHEN q.state = 'delayed' AND q.limit_key IS NOT NULL THEN 'blocked' ELSE 'queued' END,
        due_at = NULL
    WHERE q.context_id = ANY (ids)
      AND (q.state <> 'delayed' OR q.limit_key IS NULL OR q.limit_key = ANY (keys));
  GET DIAGNOSTICS ended = ROW_COUNT;
  IF keys <> '{}' THEN
    PERFORM _data_manager_admin.admit_blocked(keys);
  END IF;
  RETURN ended;
END
$$;

-- admit_late: keys with room are looked at again.
-- Out:   how many keys have no room any more
CREATE OR REPLACE FUNCTION _data_manager_admin.admit_late(most int) RETURNS int
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  keys  text[];
BEGIN
  keys := _data_manager_admin.try_lock_keys(ARRAY(
    SELECT r.limit_key FROM _data_manager_admin.key_with_room r LIMIT most FOR UPDATE SKIP LOCKED));
  DELETE FROM _data_manager_admin.key_with_room r WHERE r.limit_key = ANY (keys);
  PERFORM _data_manager_admin.admit_blocked(keys);
  RETURN cardinality(ARRAY(SELECT unnest(keys) EXCEPT SELECT r.limit_key FROM _data_manager_admin.key_with_room r));
END
$$;

-- requeue_orphans: runs whose worker is gone are queued again.
-- Out:   how many
CREATE OR REPLACE FUNCTION _data_manager_admin.requeue_orphans(most int) RETURNS int
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET enable_seqscan = off AS $$
DECLARE
  requeued int;
BEGIN
  UPDATE _data_manager_admin.run_queue q
    SET state = 'queued', worker_id = NULL, host_until = _data_manager_admin.end_of_grace(q.host)
    WHERE q.context_id = ANY (ARRAY(
      SELECT r.context_id FROM _data_manager_admin.run_queue r
        WHERE r.worker_id = ANY (ARRAY(SELECT _data_manager_admin.gone_workers())) AND r.state = 'running'
        LIMIT most FOR NO KEY UPDATE SKIP LOCKED));
  GET DIAGNOSTICS requeued = ROW_COUNT;
  RETURN requeued;
END
$$;

-- gone_workers: those that runs name and that are not there; by index from one worker to the next.
CREATE OR REPLACE FUNCTION _data_manager_admin.gone_workers() RETURNS SETOF bigint
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp SET enable_seqscan = off AS $$
  WITH RECURSIVE named AS (
    SELECT min(q.worker_id) AS id FROM _data_manager_admin.run_queue q WHERE q.worker_id IS NOT NULL
    UNION ALL
    SELECT (SELECT min(q.worker_id) FROM _data_manager_admin.run_queue q WHERE q.worker_id > n.id)
      FROM named n WHERE n.id IS NOT NULL)
  SELECT n.id FROM named n WHERE n.id IS NOT NULL
    AND NOT EXISTS (SELECT FROM _data_manager_admin.worker w WHERE w.worker_id = n.id)
$$;

-- uphold: one batch of each duty of upkeep.
-- Out:   how many runs were ended or queued; 0: nothing is left, or others have it locked
-- A duty that fails, whatever is wrong, keeps no other from being done.
CREATE OR REPLACE FUNCTION _data_manager_admin.uphold(most int) RETURNS int
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET lock_timeout = '500ms' AS $$
DECLARE
  duty  text;
  done  int := 0;
  more  int;
BEGIN
  FOREACH duty IN ARRAY ARRAY['deadlines', 'trees', 'expiries', 'delays', 'admissions', 'orphans'] LOOP
    BEGIN
      more := CASE duty
        WHEN 'trees' THEN _data_manager_admin.end_trees(most)
        WHEN 'deadlines' THEN _data_manager_admin.end_overdue(most)
        WHEN 'expiries' THEN _data_manager_admin.expire_runs(most)
        WHEN 'delays' THEN _data_manager_admin.end_delays(most)
        WHEN 'admissions' THEN _data_manager_admin.admit_late(most)
        WHEN 'orphans' THEN _data_manager_admin.requeue_orphans(most)
      END;
      done := done + more;
    EXCEPTION WHEN OTHERS THEN
      RAISE WARNING 'dama: upkeep of % failed: %', duty, SQLERRM;
    END;
  END LOOP;
  RETURN done;
END
$$;
