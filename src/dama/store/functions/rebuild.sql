-- rebuild: derive again what follows from the events, in one transaction while nobody writes.

-- derived_contexts: what their events say of all contexts.
-- An epoch never goes down: a worker that was forgotten may still hold the one that is there. An
-- idempotency key that is there stays; one that is missing comes back unless another context has it.
CREATE OR REPLACE FUNCTION _data_manager_admin.derived_contexts()
RETURNS TABLE (context_id bigint, root_context_id bigint, version bigint, initial_event_id bigint,
               latest_event_id bigint, status text, epoch bigint, idempotency_key text)
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
  WITH RECURSIVE placed AS (
    SELECT c.context_id, c.context_id AS root FROM _data_manager_admin.etl_context c WHERE c.parent_id IS NULL
    UNION ALL
    SELECT c.context_id, p.root FROM _data_manager_admin.etl_context c JOIN placed p ON c.parent_id = p.context_id),
  told AS (
    SELECT e.etl_context_id AS context_id, max(e.version) AS version,
           (array_agg(e.event_id ORDER BY e.version))[1] AS first,
           (array_agg(e.event_id ORDER BY e.version DESC))[1] AS latest,
           _data_manager_admin.status_after((array_agg(e.type ORDER BY e.version DESC))[1]) AS status,
           coalesce(max((e.meta ->> 'epoch')::bigint) FILTER (WHERE e.type ~ ':(STARTED|ADOPTED|LOST)$'), 0) AS epoch,
           max(e.meta ->> 'start_key') FILTER (WHERE e.version = 1) AS start_key
      FROM _data_manager_admin.event_store_prototype e GROUP BY e.etl_context_id),
  lost AS (
    SELECT DISTINCT ON (c.task, t.start_key) c.context_id, t.start_key
      FROM _data_manager_admin.etl_context c JOIN told t USING (context_id)
      WHERE c.idempotency_key IS NULL AND t.start_key IS NOT NULL AND NOT EXISTS (
        SELECT FROM _data_manager_admin.etl_context o
          WHERE o.task = c.task AND o.idempotency_key = t.start_key)
      ORDER BY c.task, t.start_key, c.context_id)
  SELECT p.context_id, p.root, coalesce(t.version, 0), t.first, t.latest, t.status,
         greatest(c.epoch, coalesce(t.epoch, 0)), coalesce(c.idempotency_key, l.start_key)
    FROM placed p JOIN _data_manager_admin.etl_context c USING (context_id)
    LEFT JOIN told t USING (context_id) LEFT JOIN lost l USING (context_id)
$$;

-- rebuild_contexts: make contexts what their events say.
-- Out:   how many were something else
CREATE OR REPLACE FUNCTION _data_manager_admin.rebuild_contexts() RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
SET dama.appending = 'on' SET dama.rewrite_history = 'on' AS $$
DECLARE
  changed bigint;
BEGIN
  UPDATE _data_manager_admin.etl_context c
    SET root_context_id = d.root_context_id, version = d.version, initial_event_id = d.initial_event_id,
        latest_event_id = d.latest_event_id, status = d.status, epoch = d.epoch,
        idempotency_key = d.idempotency_key
    FROM _data_manager_admin.derived_contexts() d
    WHERE c.context_id = d.context_id
      AND (c.root_context_id, c.version, c.initial_event_id, c.latest_event_id, c.status, c.epoch, c.idempotency_key)
          IS DISTINCT FROM (d.root_context_id, d.version, d.initial_event_id, d.latest_event_id, d.status, d.epoch, d.idempotency_key);
  GET DIAGNOSTICS changed = ROW_COUNT;
  RETURN changed;
END
$$;

-- rebuild_queue: one run for each task that has begun and not ended, with what its INITIAL says of it.
-- Out:   how many runs there are now
-- A run that waited is queued: it finds in its events what it waits for, and waits again.
CREATE OR REPLACE FUNCTION _data_manager_admin.rebuild_queue() RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  runs bigint;
  keys text[];
BEGIN
  CREATE TEMPORARY TABLE known ON COMMIT DROP AS
    SELECT q.context_id, q.epoch FROM _data_manager_admin.run_queue q;
  DELETE FROM _data_manager_admin.run_queue;
  INSERT INTO _data_manager_admin.run_queue
    (context_id, root_context_id, parent_id, task, queue, priority, epoch, attempt, state, due_at,
     expires_at, deadline_at, labels, limit_key, key_limit, host, program_epoch, host_until)
  SELECT c.context_id, c.root_context_id, c.parent_id, c.task,
         coalesce(i.meta ->> 'queue', 'default'), coalesce((i.meta ->> 'priority')::int, 0),
         greatest(c.epoch, k.epoch), coalesce((s.meta ->> 'attempt')::int, 0),
         CASE WHEN l.type LIKE '%:RETRYING' THEN 'retrying'
              WHEN s.type IS NOT NULL THEN 'queued'
              WHEN i.meta ? 'delay' AND l.type LIKE '%:INITIAL' THEN 'delayed'
              WHEN i.meta ? 'limit_key' THEN 'blocked'
              ELSE 'queued' END,
         CASE WHEN l.type LIKE '%:RETRYING'
                THEN l.created_at + (l.payload ->> 'delay')::double precision * interval '1 second'
              WHEN i.meta ? 'delay' AND l.type LIKE '%:INITIAL'
                THEN i.created_at + (i.meta ->> 'delay')::double precision * interval '1 second' END,
         CASE WHEN l.type LIKE '%:INITIAL'
                THEN i.created_at + (i.meta ->> 'expires')::double precision * interval '1 second' END,
         r.created_at + (i.meta ->> 'deadline')::double precision * interval '1 second',
         ARRAY(SELECT jsonb_array_elements_text(i.meta -> 'labels') WHERE i.meta ? 'labels'),
         i.meta ->> 'limit_key', (i.meta ->> 'key_limit')::int,
         -- A program may still run there; nobody else starts it before that host had its time.
         CASE WHEN l.type ~ ':(STARTED|ADOPTED)$' THEN s.meta ->> 'program_host' END,
         CASE WHEN l.type ~ ':(STARTED|ADOPTED)$' THEN (s.meta ->> 'program_epoch')::bigint END,
         CASE WHEN l.type ~ ':(STARTED|ADOPTED)$' THEN _data_manager_admin.end_of_grace(s.meta ->> 'program_host') END
    FROM _data_manager_admin.etl_context c
    JOIN _data_manager_admin.event_store_prototype i ON i.event_id = c.initial_event_id
    JOIN LATERAL (  -- the last event of its life cycle
      SELECT e.type, e.created_at, e.payload FROM _data_manager_admin.event_store_prototype e
        WHERE e.etl_context_id = c.context_id
          AND e.type ~ ':(INITIAL|RESUMED|STARTED|ADOPTED|LOST|RETRYING|ERROR|CANCELLED|FINAL)$'
        ORDER BY e.version DESC LIMIT 1) l ON TRUE
    JOIN LATERAL (  -- where its attempts began to count
      SELECT e.version, e.created_at FROM _data_manager_admin.event_store_prototype e
        WHERE e.etl_context_id = c.context_id AND (e.type LIKE '%:INITIAL' OR e.type LIKE '%:RESUMED')
        ORDER BY e.version DESC LIMIT 1) r ON TRUE
    LEFT JOIN LATERAL (
      SELECT e.type, e.meta FROM _data_manager_admin.event_store_prototype e
        WHERE e.etl_context_id = c.context_id AND e.type LIKE '%:STARTED' AND e.version > r.version
        ORDER BY e.version DESC LIMIT 1) s ON TRUE
    LEFT JOIN known k ON k.context_id = c.context_id
    WHERE c.task IS NOT NULL AND l.type !~ ':(ERROR|CANCELLED|FINAL)$';
  GET DIAGNOSTICS runs = ROW_COUNT;
  keys := ARRAY(SELECT DISTINCT q.limit_key FROM _data_manager_admin.run_queue q WHERE q.state = 'blocked');
  PERFORM _data_manager_admin.lock_keys(keys);
  PERFORM _data_manager_admin.admit_blocked(keys);
  RETURN runs;
END
$$;

-- rebuild: contexts, queue and caches.
-- Out:   contexts that were corrected; runs that are queued now
-- Locks: all of both tables and the queue; readers go on
-- Raises: DM009 a worker lives
CREATE OR REPLACE FUNCTION _data_manager_admin.rebuild()
RETURNS TABLE (contexts bigint, runs bigint)
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  alive record;
BEGIN
  LOCK TABLE _data_manager_admin.worker, _data_manager_admin.etl_context,
    _data_manager_admin.event_store_prototype, _data_manager_admin.run_queue IN EXCLUSIVE MODE;
  SELECT w.host, w.pid INTO alive FROM _data_manager_admin.worker w
    WHERE w.lease_until > clock_timestamp() LIMIT 1;
  IF FOUND THEN
    RAISE EXCEPTION USING ERRCODE = 'DM009',
      MESSAGE = format('The worker %s:%s lives, and its runs can not be derived from events.', alive.host, alive.pid);
  END IF;
  DELETE FROM _data_manager_admin.worker;
  contexts := _data_manager_admin.rebuild_contexts();
  runs := _data_manager_admin.rebuild_queue();
  TRUNCATE _data_manager_admin.slice_snapshot;
  RETURN NEXT;
END
$$;
