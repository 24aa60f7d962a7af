-- rebuild: derive again what follows from the events, in one transaction while nobody writes.

-- A number of an event's meta or payload that became one of the queue; NULL when it is none, or too large:
-- whoever wrote it, one event must not keep all others from being derived.
CREATE OR REPLACE FUNCTION _data_manager_admin.number_in(object jsonb, name text, largest double precision) RETURNS double precision
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
  SELECT CASE WHEN jsonb_typeof(object -> name) = 'number' AND (object ->> name)::numeric BETWEEN -largest::numeric AND largest::numeric
              THEN (object ->> name)::numeric::double precision END
$$;

-- The same of a string: NULL when it is empty, or longer than an index takes.
CREATE OR REPLACE FUNCTION _data_manager_admin.name_in(object jsonb, name text) RETURNS text
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
  SELECT CASE WHEN octet_length(object ->> name) BETWEEN 1 AND 1000 THEN object ->> name END
$$;

-- placed_contexts: all contexts, each with the root of its tree. A parent that is not there is passed over, and in a
-- cycle of parents, which only an adopted database can have, the smallest id counts as the root.
CREATE OR REPLACE FUNCTION _data_manager_admin.placed_contexts() RETURNS TABLE (context_id bigint, root bigint)
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp SET enable_nestloop = off AS $$
  WITH RECURSIVE known AS (
    SELECT c.context_id::bigint, p.context_id::bigint AS parent
      FROM _data_manager_admin.etl_context c LEFT JOIN _data_manager_admin.etl_context p ON p.context_id = c.parent_id),
  placed AS (
    SELECT k.context_id, k.context_id AS root FROM known k WHERE k.parent IS NULL
    UNION ALL
    SELECT k.context_id, p.root FROM known k JOIN placed p ON k.parent = p.context_id),
  adrift AS MATERIALIZED (
    SELECT k.context_id, k.parent FROM known k LEFT JOIN placed p USING (context_id) WHERE p.context_id IS NULL),
  above AS (  -- who is above itself is in a cycle
    SELECT a.context_id, a.parent FROM adrift a
    UNION
    SELECT b.context_id, a.parent FROM above b JOIN adrift a ON a.context_id = b.parent)
  SELECT p.context_id, p.root FROM placed p
  UNION ALL
  SELECT b.context_id, min(b.parent) FROM above b
    JOIN (SELECT o.context_id FROM above o WHERE o.context_id = o.parent) y ON y.context_id = b.parent
    GROUP BY b.context_id
$$;

-- derived_contexts: what their events say of all contexts.
-- An epoch never goes down: a worker that was forgotten may still hold the one that is there. An
-- idempotency key that is there stays; one that is missing comes back unless another context has it.
CREATE OR REPLACE FUNCTION _data_manager_admin.derived_contexts()
RETURNS TABLE (context_id bigint, root_context_id bigint, version bigint, initial_event_id bigint,
               latest_event_id bigint, status text, epoch bigint, idempotency_key text)
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
  WITH told AS (
    SELECT e.etl_context_id AS context_id, max(e.version) AS version,
           (array_agg(e.event_id ORDER BY e.version))[1] AS first,
           (array_agg(e.event_id ORDER BY e.version DESC))[1] AS latest,
           _data_manager_admin.status_after((array_agg(e.type ORDER BY e.version DESC))[1]) AS status,
           coalesce(max(_data_manager_admin.number_in(e.meta, 'epoch', 1e18)::bigint) FILTER (WHERE e.type ~ ':(STARTED|ADOPTED|LOST)$'), 0) AS epoch,
           max(_data_manager_admin.name_in(e.meta, 'start_key')) FILTER (WHERE e.version = 1) AS start_key
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
    FROM _data_manager_admin.placed_contexts() p JOIN _data_manager_admin.etl_context c USING (context_id)
    LEFT JOIN told t USING (context_id) LEFT JOIN lost l USING (context_id)
$$;

-- rebuild_contexts: make contexts what their events say.
-- Out:   how many were something else
CREATE OR REPLACE FUNCTION _data_manager_admin.rebuild_contexts() RETURNS bigint
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  before    text := coalesce(current_setting('dama.rewrite_history', TRUE), '');
  flag      text := set_config('dama.rewrite_history', 'on', TRUE);
  changed bigint;
BEGIN
  PERFORM _data_manager_admin.refuse_living_workers();
  UPDATE _data_manager_admin.etl_context c
    SET root_context_id = d.root_context_id, version = d.version, initial_event_id = d.initial_event_id,
        latest_event_id = d.latest_event_id, status = d.status, epoch = d.epoch,
        idempotency_key = d.idempotency_key
    FROM _data_manager_admin.derived_contexts() d
    WHERE c.context_id = d.context_id
      AND (c.root_context_id, c.version, c.initial_event_id, c.latest_event_id, c.status, c.epoch, c.idempotency_key)
          IS DISTINCT FROM (d.root_context_id, d.version, d.initial_event_id, d.latest_event_id, d.status, d.epoch, d.idempotency_key);
  GET DIAGNOSTICS changed = ROW_COUNT;
  flag := set_config('dama.rewrite_history', before, TRUE);
  RETURN changed;
END
$$;

-- refuse_living_workers: nothing is derived again under a worker: its runs do not follow from events.
-- Locks: the table of workers, so that none begins meanwhile
CREATE OR REPLACE FUNCTION _data_manager_admin.refuse_living_workers() RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  alive record;
BEGIN
  LOCK TABLE _data_manager_admin.worker IN EXCLUSIVE MODE;
  SELECT w.host, w.pid INTO alive FROM _data_manager_admin.worker w
    WHERE w.lease_until > clock_timestamp() LIMIT 1;
  IF FOUND THEN
    RAISE EXCEPTION USING ERRCODE = 'DM009',
      MESSAGE = format('The worker %s:%s lives, and its runs cannot be derived from events.', alive.host, alive.pid);
  END IF;
END
$$;

-- rebuild_queue: one run for each task that has begun and not ended, with what its INITIAL says of it.
-- Out:   how many runs there are now
-- A run that waited is queued: it finds in its events what it waits for, and waits again.
CREATE OR REPLACE FUNCTION _data_manager_admin.rebuild_queue() RETURNS bigint
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  runs bigint;
  keys text[];
BEGIN
  PERFORM _data_manager_admin.refuse_living_workers();
  LOCK TABLE _data_manager_admin.etl_context, _data_manager_admin.event_store_prototype,
    _data_manager_admin.run_queue IN EXCLUSIVE MODE;
  CREATE TEMPORARY TABLE known ON COMMIT DROP AS
    SELECT q.context_id, q.epoch FROM _data_manager_admin.run_queue q;
  DELETE FROM _data_manager_admin.run_queue;
  INSERT INTO _data_manager_admin.run_queue
    (context_id, root_context_id, parent_id, task, queue, priority, epoch, attempt, state, due_at,
     expires_at, deadline_at, labels, limit_key, key_limit, host, program_epoch, host_until)
  SELECT c.context_id, c.root_context_id, c.parent_id, c.task,
         coalesce(_data_manager_admin.name_in(i.meta, 'queue'), 'default'), coalesce(_data_manager_admin.number_in(i.meta, 'priority', 2147483647)::int, 0),
         greatest(c.epoch, k.epoch), coalesce(_data_manager_admin.number_in(s.meta, 'attempt', 2147483647)::int, 0),
         CASE WHEN l.type LIKE '%:RETRYING' THEN 'retrying'
              WHEN s.type IS NOT NULL THEN 'queued'
              WHEN _data_manager_admin.number_in(i.meta, 'delay', 1e10) IS NOT NULL AND l.type LIKE '%:INITIAL' THEN 'delayed'
              WHEN _data_manager_admin.name_in(i.meta, 'limit_key') IS NOT NULL THEN 'blocked'
              ELSE 'queued' END,
         CASE WHEN l.type LIKE '%:RETRYING'
                THEN l.created_at + coalesce(_data_manager_admin.number_in(l.payload, 'delay', 1e10), 0) * interval '1 second'
              WHEN _data_manager_admin.number_in(i.meta, 'delay', 1e10) IS NOT NULL AND l.type LIKE '%:INITIAL'
                THEN i.created_at + _data_manager_admin.number_in(i.meta, 'delay', 1e10) * interval '1 second' END,
         CASE WHEN l.type LIKE '%:INITIAL'
                THEN i.created_at + _data_manager_admin.number_in(i.meta, 'expires', 1e10) * interval '1 second' END,
         r.created_at + _data_manager_admin.number_in(i.meta, 'deadline', 1e10) * interval '1 second',
         ARRAY(SELECT l FROM jsonb_array_elements_text(CASE WHEN jsonb_typeof(i.meta -> 'labels') = 'array' THEN i.meta -> 'labels' ELSE '[]' END) l WHERE l IS NOT NULL),
         _data_manager_admin.name_in(i.meta, 'limit_key'),
         CASE WHEN _data_manager_admin.name_in(i.meta, 'limit_key') IS NOT NULL THEN greatest(coalesce(_data_manager_admin.number_in(i.meta, 'key_limit', 2147483647), 1)::int, 1) END,
         -- A program may still run there; nobody else starts it before that host had its time.
         CASE WHEN l.type ~ ':(STARTED|ADOPTED)$' THEN s.meta ->> 'program_host' END,
         CASE WHEN l.type ~ ':(STARTED|ADOPTED)$' THEN _data_manager_admin.number_in(s.meta, 'program_epoch', 1e18)::bigint END,
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
    WHERE octet_length(c.task) <= 1000 AND l.type !~ ':(ERROR|CANCELLED|FINAL)$';
  GET DIAGNOSTICS runs = ROW_COUNT;
  keys := ARRAY(SELECT DISTINCT q.limit_key FROM _data_manager_admin.run_queue q WHERE q.state = 'blocked');
  PERFORM _data_manager_admin.lock_keys(keys);
  PERFORM _data_manager_admin.admit_blocked(keys);
  RETURN runs;
END
$$;

-- derive_origins: what contexts were forked from, and what was imported, as their events say.
-- In:    contexts: which; NULL for all
CREATE OR REPLACE FUNCTION _data_manager_admin.derive_origins(contexts bigint[]) RETURNS void
LANGUAGE sql SET search_path = pg_catalog, pg_temp AS $$
  INSERT INTO _data_manager_admin.fork (context_id, source_id, event_id, version)
  SELECT DISTINCT ON (e.etl_context_id) e.etl_context_id, (o.origin ->> 'context_id')::bigint, (o.origin ->> 'event_id')::bigint, (o.origin ->> 'version')::bigint
    FROM _data_manager_admin.event_store_prototype e CROSS JOIN LATERAL (SELECT e.payload -> 'forked_from' AS origin) o
    WHERE (contexts IS NULL OR e.etl_context_id = ANY (contexts))
      AND e.type LIKE '%:RESUMED' AND jsonb_typeof(o.origin) = 'object' AND NOT coalesce(e.meta ? 'imported_from', FALSE)
      AND _data_manager_admin.number_in(o.origin, 'context_id', 1e18) IS NOT NULL AND _data_manager_admin.number_in(o.origin, 'event_id', 1e18) IS NOT NULL
      AND _data_manager_admin.number_in(o.origin, 'version', 1e18) = e.version - 1
    ORDER BY e.etl_context_id, e.version DESC
  ON CONFLICT DO NOTHING;
  INSERT INTO _data_manager_admin.imported (context_id, database, source_id, version)
  SELECT e.etl_context_id, _data_manager_admin.name_in(o.origin, 'database'), (o.origin ->> 'context_id')::bigint, (o.origin ->> 'version')::bigint
    FROM _data_manager_admin.etl_context c JOIN _data_manager_admin.event_store_prototype e ON e.event_id = c.initial_event_id
    CROSS JOIN LATERAL (SELECT e.meta -> 'imported_from' AS origin) o
    WHERE (contexts IS NULL OR c.context_id = ANY (contexts))
      AND jsonb_typeof(o.origin) = 'object' AND _data_manager_admin.name_in(o.origin, 'database') IS NOT NULL
      AND NOT EXISTS (SELECT FROM _data_manager_admin.fork f WHERE f.context_id = c.context_id)
      AND _data_manager_admin.number_in(o.origin, 'context_id', 1e18) IS NOT NULL AND _data_manager_admin.number_in(o.origin, 'version', 1e18) IS NOT NULL
  ON CONFLICT DO NOTHING;
$$;

-- rebuild: contexts, queue and caches.
-- Out:   contexts that were corrected; runs that are queued now
-- Locks: all of both tables and the queue; readers continue
-- Raises: DM009 a worker lives
CREATE OR REPLACE FUNCTION _data_manager_admin.rebuild()
RETURNS TABLE (contexts bigint, runs bigint)
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  LOCK TABLE _data_manager_admin.worker, _data_manager_admin.etl_context,
    _data_manager_admin.event_store_prototype, _data_manager_admin.run_queue IN EXCLUSIVE MODE;
  PERFORM _data_manager_admin.refuse_living_workers();
  DELETE FROM _data_manager_admin.worker;
  contexts := _data_manager_admin.rebuild_contexts();
  runs := _data_manager_admin.rebuild_queue();
  PERFORM _data_manager_admin.derive_origins(NULL);
  TRUNCATE _data_manager_admin.slice_snapshot, _data_manager_admin.slice_rung;
  RETURN NEXT;
END
$$;
