-- launchers: runs that an engine places elsewhere, before a worker there takes them.

-- memory_losses: how often the job of a context had too little memory, and was asked for again with more.
CREATE OR REPLACE FUNCTION _data_manager_admin.memory_losses(context bigint) RETURNS int
LANGUAGE sql STABLE PARALLEL SAFE AS $$
  -- By the keys that these events have: a history may be long.
  SELECT count(*)::int
    FROM _data_manager_admin.run_queue q CROSS JOIN LATERAL generate_series(1, q.epoch) n
    WHERE q.context_id = context AND (
      SELECT e.payload ->> 'code' FROM _data_manager_admin.event_store_prototype e
        WHERE e.etl_context_id = context AND e.meta ->> 'idempotency_key' = 'UNPLACED#' || n
          AND e.meta ? 'idempotency_key') = 'OUT_OF_MEMORY'
$$;

-- place_runs: claim runs for an engine. They are placed, with a new epoch, before anybody asks the engine for a job.
-- In:    worker: who does it; queues, tasks, offered, demand: as claim_runs() has them; prefix: of the names of the jobs;
--        resources: by task; grouped: whether one job may have several runs of a task
-- Out:   one row for each run
-- Locks: as claim_runs(), then the rows of the contexts, SKIP LOCKED: elsewhere contexts come before runs. What could
--        not be placed is queued again with the epoch that it had, as if it had not been claimed.
CREATE OR REPLACE FUNCTION _data_manager_admin.place_runs(
  worker bigint, queues text[], tasks text[], offered text[], demand int,
  launcher text, prefix text, resources jsonb, grouped boolean)
RETURNS TABLE (context_id bigint, epoch bigint, name text, element int, task text)
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
  claimed  bigint[];
  ids      bigint[];
  batch    jsonb;
BEGIN
  claimed := ARRAY(SELECT c.context_id FROM _data_manager_admin.claim_runs(
      worker, queues, array_fill(-(1::bigint << 40), ARRAY[cardinality(queues)]), array_fill(0::bigint, ARRAY[cardinality(queues)]),
      tasks, offered, NULL, demand) c
    WHERE c.program_epoch IS NULL);
  IF claimed = '{}' THEN
    RETURN;
  END IF;
  -- How its last job ended is to be known first: it may have been cancelled there.
  ids := ARRAY(SELECT c.context_id FROM _data_manager_admin.etl_context c
    WHERE c.context_id = ANY (claimed) AND NOT EXISTS (
      SELECT FROM _data_manager_admin.placement p JOIN _data_manager_admin.run_queue q ON q.context_id = p.context_id
        WHERE p.context_id = c.context_id AND p.epoch = q.epoch - 1)
    ORDER BY c.context_id FOR NO KEY UPDATE OF c SKIP LOCKED);
  UPDATE _data_manager_admin.run_queue q SET state = 'placed', worker_id = NULL WHERE q.context_id = ANY (ids);
  UPDATE _data_manager_admin.run_queue q SET state = 'queued', worker_id = NULL, epoch = q.epoch - 1, attempt = q.attempt - 1,
      expires_at = CASE WHEN q.attempt = 1 THEN (
        SELECT i.created_at + _data_manager_admin.number_in(i.meta, 'expires', 1e10) * interval '1 second'
          FROM _data_manager_admin.etl_context c JOIN _data_manager_admin.event_store_prototype i ON i.event_id = c.initial_event_id
          WHERE c.context_id = q.context_id) END
    WHERE q.context_id = ANY (claimed) AND q.context_id <> ALL (ids);
  INSERT INTO _data_manager_admin.placement (context_id, epoch, launcher, name, element, task)
    SELECT q.context_id, q.epoch, place_runs.launcher,
           format('%s-%s-%s', prefix, first_value(q.context_id) OVER same, first_value(q.epoch) OVER same),
           row_number() OVER same - 1, q.task
      FROM _data_manager_admin.run_queue q WHERE q.context_id = ANY (ids)
      WINDOW same AS (
        PARTITION BY q.task, CASE WHEN grouped THEN 0 ELSE q.context_id END,
          -- What had too little is asked for with more, so not with the rest.
          CASE WHEN resources -> q.task ? 'retry_memory' THEN _data_manager_admin.memory_losses(q.context_id) END
        ORDER BY q.context_id);
  batch := (
    SELECT jsonb_agg(jsonb_build_object('context_id', p.context_id, 'event', jsonb_build_object(
             'type', p.task || ':PLACED',
             'payload', jsonb_build_object('launcher', p.launcher, 'name', p.name, 'epoch', p.epoch,
                                           'resources', coalesce(resources -> p.task, '{}') || CASE
                                             WHEN resources -> p.task ? 'retry_memory' THEN jsonb_build_object('memory',
                                               (resources -> p.task ->> 'memory')::bigint << _data_manager_admin.memory_losses(p.context_id))
                                             ELSE '{}' END),
             'meta', jsonb_build_object('idempotency_key', 'PLACED#' || p.epoch))) ORDER BY p.context_id)
      FROM _data_manager_admin.placement p JOIN _data_manager_admin.run_queue q USING (context_id, epoch)
      WHERE p.context_id = ANY (ids));
  IF batch IS NOT NULL THEN
    PERFORM _data_manager_admin.append_events(batch);
  END IF;
  RETURN QUERY SELECT p.context_id, p.epoch, p.name, p.element, p.task
    FROM _data_manager_admin.placement p JOIN _data_manager_admin.run_queue q USING (context_id, epoch)
    WHERE p.context_id = ANY (ids) ORDER BY p.name, p.element;
END
$$;

-- unplace_run: the job of a run is over, and nobody executes the run.
-- In:    failed: it is an ERROR; else it is queued again, no attempt spent, unless that has been so too often;
--        facts: the payload of the event; quiet: how long the worker of a running one must not have been heard of,
--        lease: what that has; pause: before it is queued again, and three times that with each further loss
-- Out:   whether it was so: false where somebody executes it, or a later epoch has it
-- Locks: the row of the context, its key, then the row of the run
CREATE OR REPLACE FUNCTION _data_manager_admin.unplace_run(
  context bigint, epoch bigint, failed boolean, facts jsonb, most_losses int, quiet interval, lease interval,
  pause interval DEFAULT '0')
RETURNS boolean
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
  run      record;
  is_over  boolean;
BEGIN
  PERFORM FROM _data_manager_admin.etl_context c WHERE c.context_id = context FOR NO KEY UPDATE;
  -- An ERROR makes room for others with its key, and keys come before runs.
  IF EXISTS (SELECT FROM _data_manager_admin.run_queue q WHERE q.context_id = context AND q.limit_key IS NOT NULL) THEN
    PERFORM _data_manager_admin.lock_keys(ARRAY(
      SELECT q.limit_key FROM _data_manager_admin.run_queue q WHERE q.context_id = context));
  END IF;
  SELECT q.state, q.task, q.worker_id, q.deaths INTO run FROM _data_manager_admin.run_queue q
    WHERE q.context_id = context AND q.epoch = unplace_run.epoch FOR NO KEY UPDATE;
  IF NOT FOUND THEN
    RETURN FALSE;
  END IF;
  is_over := CASE run.state
    WHEN 'placed' THEN TRUE
    WHEN 'running' THEN NOT EXISTS (SELECT FROM _data_manager_admin.worker w
      WHERE w.worker_id = run.worker_id AND w.lease_until > clock_timestamp() + lease - quiet)
    ELSE failed AND run.state IN ('queued', 'retrying') END;
  IF NOT is_over THEN
    RETURN FALSE;
  END IF;
  failed := failed OR run.deaths + 1 >= most_losses;
  PERFORM _data_manager_admin.append_events(jsonb_build_array(jsonb_build_object('context_id', context, 'event',
    jsonb_build_object('type', run.task || CASE WHEN failed THEN ':ERROR' ELSE ':UNPLACED' END, 'payload', facts, 'error', TRUE,
                       'meta', jsonb_build_object('idempotency_key', CASE WHEN failed THEN 'ERROR#' ELSE 'UNPLACED#' END || unplace_run.epoch)))));
  IF NOT failed THEN
    UPDATE _data_manager_admin.run_queue q
      SET state = 'retrying', due_at = clock_timestamp() + pause * 3 ^ q.deaths, worker_id = NULL, attempt = greatest(q.attempt - 1, 0), deaths = q.deaths + 1,
          host_until = _data_manager_admin.end_of_grace(q.host)
      WHERE q.context_id = context;
  END IF;
  DELETE FROM _data_manager_admin.placement p WHERE p.context_id = context AND p.epoch = unplace_run.epoch;
  RETURN TRUE;
END
$$;
