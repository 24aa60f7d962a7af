-- workers: claims, leases, and what becomes of the runs of workers that died.

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
CREATE OR REPLACE FUNCTION _data_manager_admin.expire_runs() RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  late jsonb;
BEGIN
  SELECT jsonb_agg(jsonb_build_object('context_id', q.context_id, 'event', jsonb_build_object(
           'type', q.task || ':ERROR', 'error', TRUE, 'payload', jsonb_build_object(
             'name', 'ExpiredError', 'message', format('It did not start before %s.', q.expires_at)))))
    INTO late
    FROM _data_manager_admin.run_queue q
    WHERE q.expires_at < clock_timestamp() AND q.attempt = 0 AND q.state IN ('queued', 'delayed');
  IF late IS NOT NULL THEN
    PERFORM _data_manager_admin.append_events(late);
  END IF;
END
$$;

CREATE OR REPLACE FUNCTION _data_manager_admin.claim_runs(
  worker bigint, queues text[], tasks text[], root bigint, demand int)
RETURNS TABLE (context_id bigint, parent_id bigint, root_context_id bigint, task text, epoch bigint,
               attempt int, has_params boolean, params text)
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
SET plan_cache_mode = force_generic_plan
SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off SET enable_bitmapscan = off
AS $$
#variable_conflict use_column
DECLARE
  ids   bigint[] := '{}';
  more  bigint[];
  name  text;
BEGIN
  -- Locked, so that nobody buries the worker between this look and the commit of its claims.
  PERFORM 1 FROM _data_manager_admin.worker w WHERE w.worker_id = worker FOR KEY SHARE;
  IF NOT FOUND THEN
    RETURN;
  END IF;
  IF root IS NOT NULL THEN
    ids := ARRAY(SELECT q.context_id FROM _data_manager_admin.run_queue q
      WHERE q.root_context_id = root AND q.state = 'queued' AND q.task = ANY (tasks)
      ORDER BY q.context_id LIMIT demand FOR NO KEY UPDATE SKIP LOCKED);
  ELSE
    FOREACH name IN ARRAY queues LOOP
      more := ARRAY(SELECT q.context_id FROM _data_manager_admin.run_queue q
        WHERE q.queue = name AND q.state = 'queued' AND q.task = ANY (tasks)
        ORDER BY q.priority DESC, q.context_id
        LIMIT _data_manager_admin.allowed_starts(name, demand - cardinality(ids))
        FOR NO KEY UPDATE SKIP LOCKED);
      IF more <> '{}' THEN
        PERFORM _data_manager_admin.spend_allowance(name, cardinality(more));
        ids := ids || more;
      END IF;
    END LOOP;
  END IF;
  IF ids = '{}' THEN
    RETURN;
  END IF;
  RETURN QUERY
    UPDATE _data_manager_admin.run_queue q
      SET state = 'running', worker_id = worker, epoch = q.epoch + 1, attempt = q.attempt + 1,
          due_at = NULL, expires_at = NULL, pending = 0, wake_types = NULL
      FROM _data_manager_admin.etl_context c
      JOIN _data_manager_admin.event_store_prototype e ON e.event_id = c.initial_event_id
      WHERE q.context_id = ANY (ids) AND c.context_id = q.context_id
      RETURNING q.context_id, q.parent_id, q.root_context_id, q.task, q.epoch, q.attempt,
                e.payload IS NOT NULL, e.payload::text;
END
$$;

-- The runs of workers that are gone are queued again. Their epochs are fenced when they start anew.
CREATE OR REPLACE FUNCTION _data_manager_admin.release_workers(gone bigint[]) RETURNS int
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  released int;
BEGIN
  DELETE FROM _data_manager_admin.worker w WHERE w.worker_id = ANY (gone);
  UPDATE _data_manager_admin.run_queue q SET state = 'queued', worker_id = NULL
    WHERE q.worker_id = ANY (gone) AND q.state = 'running';
  GET DIAGNOSTICS released = ROW_COUNT;
  RETURN released;
END
$$;

-- A worker judges others only while its own lease has not lapsed: after an outage of the database
-- every lease has, and nobody is dead.
-- Out:   gone: the contexts that the worker should have but were taken from it, ended from outside
--        or claimed by another; NULL when it was taken for dead itself. work: something is queued
--        for it. next_due: seconds until the next run is due; NULL when none will be.
CREATE OR REPLACE FUNCTION _data_manager_admin.renew_lease(
  worker bigint, held bigint[], queues text[], tasks text[], lease interval)
RETURNS TABLE (gone bigint[], work boolean, next_due double precision)
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  before  timestamptz;
  moment  timestamptz := clock_timestamp();
  dead    bigint[];
BEGIN
  SELECT w.lease_until INTO before FROM _data_manager_admin.worker w
    WHERE w.worker_id = worker FOR NO KEY UPDATE;
  IF NOT FOUND THEN
    RETURN QUERY SELECT NULL::bigint[], FALSE, NULL::double precision;
    RETURN;
  END IF;
  UPDATE _data_manager_admin.worker w SET lease_until = moment + lease, running = cardinality(held)
    WHERE w.worker_id = worker;
  UPDATE _data_manager_admin.run_queue q SET state = 'queued', due_at = NULL
    WHERE q.context_id IN (SELECT d.context_id FROM _data_manager_admin.run_queue d
                             WHERE d.due_at <= moment ORDER BY d.due_at LIMIT 1000
                             FOR NO KEY UPDATE SKIP LOCKED);
  IF EXISTS (SELECT FROM _data_manager_admin.run_queue q WHERE q.expires_at < moment) THEN
    PERFORM _data_manager_admin.expire_runs();
  END IF;
  IF before > moment THEN
    dead := ARRAY(SELECT w.worker_id FROM _data_manager_admin.worker w
                    WHERE w.lease_until < moment FOR UPDATE SKIP LOCKED);
    IF dead <> '{}' THEN
      PERFORM _data_manager_admin.release_workers(dead);
    END IF;
  END IF;
  RETURN QUERY SELECT
    ARRAY(SELECT h FROM unnest(held) h WHERE NOT EXISTS (
      SELECT FROM _data_manager_admin.run_queue q WHERE q.context_id = h AND q.worker_id = worker)),
    EXISTS (SELECT FROM _data_manager_admin.run_queue q
              WHERE q.queue = ANY (queues) AND q.state = 'queued' AND q.task = ANY (tasks)),
    (SELECT extract(epoch FROM min(q.due_at) - clock_timestamp())::double precision
       FROM _data_manager_admin.run_queue q WHERE q.due_at IS NOT NULL);
END
$$;

-- Both rows are locked before anybody looks: a subtask that ends meanwhile, or a signal that comes,
-- waits for this transaction and then finds a run that waits.
CREATE OR REPLACE FUNCTION _data_manager_admin.park_run(
  context bigint, worker bigint, awaited bigint[], on_failure boolean, until timestamptz,
  types text[], seen bigint)
RETURNS boolean
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  unfinished int;
  failed     boolean;
  ready      boolean;
BEGIN
  PERFORM 1 FROM _data_manager_admin.etl_context c WHERE c.context_id = context FOR NO KEY UPDATE;
  PERFORM 1 FROM _data_manager_admin.run_queue q
    WHERE q.context_id = context AND q.worker_id = worker AND q.state = 'running' FOR UPDATE;
  IF NOT FOUND THEN
    RETURN FALSE;
  END IF;
  SELECT count(*) FILTER (WHERE c.status = 'OPEN'),
         coalesce(bool_or(c.status IN ('ERROR', 'CANCELLED')), FALSE) INTO unfinished, failed
    FROM _data_manager_admin.etl_context c WHERE c.context_id = ANY (awaited);
  ready := (awaited <> '{}' AND (unfinished = 0 OR (failed AND on_failure)))
    OR coalesce(until <= clock_timestamp(), FALSE)
    OR EXISTS (SELECT FROM _data_manager_admin.event_store_prototype e
                 WHERE e.etl_context_id = context AND e.version > seen AND e.type = ANY (types));
  UPDATE _data_manager_admin.run_queue q
    SET worker_id = NULL, pending = unfinished, wake_on_failure = on_failure, attempt = q.attempt - 1,
        wake_types = types, due_at = CASE WHEN ready THEN NULL ELSE until END,
        state = CASE WHEN ready THEN 'queued' ELSE 'waiting' END
    WHERE q.context_id = context;
  RETURN TRUE;
END
$$;

-- What failed below a failed context failed it, so it is reopened with it. A context that an event
-- from outside opened again has no run, and gets one.
CREATE OR REPLACE FUNCTION _data_manager_admin.resume_tree(context bigint, meta jsonb)
RETURNS TABLE (context_id bigint)
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
  ids bigint[];
BEGIN
  ids := ARRAY(
    WITH RECURSIVE failed AS (
      SELECT c.context_id FROM _data_manager_admin.etl_context c
        WHERE c.context_id = context AND (c.status IN ('ERROR', 'CANCELLED') OR (c.status = 'OPEN'
          AND NOT EXISTS (SELECT FROM _data_manager_admin.run_queue q WHERE q.context_id = context)))
      UNION ALL
      SELECT c.context_id FROM _data_manager_admin.etl_context c JOIN failed f ON c.parent_id = f.context_id
        WHERE c.status IN ('ERROR', 'CANCELLED'))
    SELECT f.context_id FROM failed f ORDER BY 1);
  PERFORM _data_manager_admin.append_events((
    SELECT jsonb_agg(jsonb_build_object('context_id', c.context_id, 'expected_version', c.version,
             'event', jsonb_build_object('type', coalesce(c.task, '') || ':RESUMED', 'meta', meta)))
      FROM _data_manager_admin.etl_context c WHERE c.context_id = ANY (ids)))
    WHERE ids <> '{}';
  INSERT INTO _data_manager_admin.run_queue
    (context_id, root_context_id, parent_id, task, queue, priority, epoch)
  SELECT c.context_id, c.root_context_id, c.parent_id, c.task,
         coalesce(e.meta ->> 'queue', 'default'), coalesce((e.meta ->> 'priority')::int, 0), c.epoch
    FROM _data_manager_admin.etl_context c
    JOIN _data_manager_admin.event_store_prototype e ON e.event_id = c.initial_event_id
    WHERE c.context_id = ANY (ids) AND c.task IS NOT NULL
  ON CONFLICT (context_id) DO NOTHING;
  RETURN QUERY SELECT * FROM unnest(ids);
END
$$;

-- cancel_tree: end a context and all below it that have not ended, and the SQL of their steps.
-- Out:   the contexts that were cancelled
CREATE OR REPLACE FUNCTION _data_manager_admin.cancel_tree(context bigint, payload jsonb, meta jsonb)
RETURNS TABLE (context_id bigint)
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
  ids bigint[];
BEGIN
  -- Locked before their status is read, and parents first: none starts a subtask after this.
  ids := ARRAY(
    WITH RECURSIVE below AS (
      SELECT c.context_id FROM _data_manager_admin.etl_context c WHERE c.context_id = context
      UNION ALL
      SELECT c.context_id FROM _data_manager_admin.etl_context c JOIN below b ON c.parent_id = b.context_id)
    SELECT b.context_id FROM below b ORDER BY 1);
  PERFORM 1 FROM _data_manager_admin.etl_context c
    WHERE c.context_id = ANY (ids) ORDER BY c.context_id FOR NO KEY UPDATE;
  ids := ARRAY(SELECT c.context_id FROM _data_manager_admin.etl_context c
                 WHERE c.context_id = ANY (ids) AND c.status IN ('OPEN', 'ERROR') ORDER BY 1);
  IF ids <> '{}' THEN
    PERFORM _data_manager_admin.append_events((
      SELECT jsonb_agg(jsonb_build_object('context_id', c.context_id, 'event', jsonb_build_object(
               'type', coalesce(c.task, '') || ':CANCELLED', 'payload', payload, 'meta', meta)))
        FROM _data_manager_admin.etl_context c WHERE c.context_id = ANY (ids)));
    PERFORM pg_cancel_backend(a.pid) FROM pg_stat_activity a
      WHERE a.datname = current_database() AND a.application_name LIKE 'dama:%'
        AND split_part(a.application_name, ':', 2)::bigint = ANY (ids);
  END IF;
  RETURN QUERY SELECT * FROM unnest(ids);
END
$$;
