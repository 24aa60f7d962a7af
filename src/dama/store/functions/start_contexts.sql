-- start_contexts: create contexts with their INITIAL events and queue their runs, all or nothing.
-- In:    batch jsonb: an array of {"task", "event", "queue"?, "priority"?, "idempotency_key"?,
--        "delay"?: seconds before it is queued, "expires"?: seconds in which it must start,
--        "deadline"?: seconds in which it must end, "labels"?: what its worker must offer,
--        "limit_key"?, "key_limit"?: at most so many runs with the key at once,
--        "when_open"?: "refuse" or "return", when a run with the limit_key is open,
--        "awaited"?: true when the parent waits for it from the start on}; spawned jsonb: the
--        event of the parent that records them, without its payload.context_ids, or NULL; parent
--        bigint: whose event it is
-- Out:   one row per item, in order: context_id, is_new (false: the key was known, or its run is open)
-- Locks: the tree, shared; the row of the parent, the keys
-- Raises: as append_events(); DM008 a run with the key is open; DM012 it could never run, for all places
--        of its key are held by runs that wait for it

-- Why an item cannot be a start; NULL when it can. The queue is rebuilt from the meta of its INITIAL.
CREATE OR REPLACE FUNCTION _data_manager_admin.start_refusal(item jsonb, meta jsonb) RETURNS text
LANGUAGE sql STABLE PARALLEL SAFE AS $$
  SELECT CASE
    WHEN jsonb_typeof(item -> 'task') IS DISTINCT FROM 'string' OR item ->> 'task' = ''
      THEN format('task must be a string that is not empty, got %s', coalesce(item ->> 'task', 'none'))
    WHEN octet_length(item ->> 'idempotency_key') NOT BETWEEN 1 AND 1000
      THEN format('the idempotency key must have 1 to 1,000 bytes, got %s', octet_length(item ->> 'idempotency_key'))
    WHEN item -> 'event' ->> 'type' NOT LIKE '%:INITIAL'
      THEN format('the event of a start must have a type that ends in :INITIAL, got %s', item -> 'event' ->> 'type')
    WHEN NOT meta ?| '{priority,key_limit,delay,expires,deadline,queue,limit_key,start_key,labels,on_failure,on_cancel}' THEN NULL
    WHEN jsonb_typeof(meta -> 'priority') <> 'number'
      THEN format('meta.priority must be a number, got %s', meta -> 'priority')
    WHEN jsonb_typeof(meta -> 'key_limit') <> 'number'
      THEN format('meta.key_limit must be a number, got %s', meta -> 'key_limit')
    WHEN jsonb_typeof(meta -> 'delay') <> 'number' OR jsonb_typeof(meta -> 'expires') <> 'number'
         OR jsonb_typeof(meta -> 'deadline') <> 'number'
      THEN format('meta.delay, meta.expires and meta.deadline must be numbers of seconds, got %s, %s and %s',
                  meta -> 'delay', meta -> 'expires', meta -> 'deadline')
    WHEN jsonb_typeof(meta -> 'queue') <> 'string' OR jsonb_typeof(meta -> 'limit_key') <> 'string'
         OR jsonb_typeof(meta -> 'start_key') <> 'string'
      THEN format('meta.queue, meta.limit_key and meta.start_key must be strings, got %s, %s and %s',
                  meta -> 'queue', meta -> 'limit_key', meta -> 'start_key')
    WHEN octet_length(meta ->> 'queue') NOT BETWEEN 1 AND 1000 OR octet_length(meta ->> 'limit_key') NOT BETWEEN 1 AND 1000
         OR octet_length(meta ->> 'start_key') NOT BETWEEN 1 AND 1000
      THEN format('meta.queue, meta.limit_key and meta.start_key must have 1 to 1,000 bytes, got %s, %s and %s',
                  octet_length(meta ->> 'queue'), octet_length(meta ->> 'limit_key'), octet_length(meta ->> 'start_key'))
    WHEN jsonb_typeof(meta -> 'labels') <> 'array'
      THEN format('meta.labels must be an array of strings, got %s', meta -> 'labels')
    -- Started with the end of the context: with ':INITIAL' it is a type.
    WHEN octet_length(meta -> 'on_failure' ->> 'task') > 992 OR octet_length(meta -> 'on_cancel' ->> 'task') > 992
         OR octet_length(meta -> 'on_failure' ->> 'queue') NOT BETWEEN 1 AND 1000
         OR octet_length(meta -> 'on_cancel' ->> 'queue') NOT BETWEEN 1 AND 1000
      THEN format('the tasks of meta.on_failure and meta.on_cancel must have at most 992 bytes and their queues 1 to 1,000, got %s and %s, %s and %s',
                  octet_length(meta -> 'on_failure' ->> 'task'), octet_length(meta -> 'on_cancel' ->> 'task'),
                  octet_length(meta -> 'on_failure' ->> 'queue'), octet_length(meta -> 'on_cancel' ->> 'queue'))
  END
$$;

-- Whether a value is no number of a range; absent and null are none of it, and not beyond.
CREATE OR REPLACE FUNCTION _data_manager_admin.is_beyond(value jsonb, lowest numeric, highest numeric) RETURNS boolean
LANGUAGE sql STABLE PARALLEL SAFE AS $$
  SELECT CASE jsonb_typeof(value)
    WHEN 'number' THEN value::numeric NOT BETWEEN lowest AND highest WHEN 'null' THEN FALSE ELSE value IS NOT NULL END
$$;

-- Why the queue cannot hold an item; NULL when it can. An expression without subqueries, which the planner puts
-- in place: it is asked for each item of a batch.
CREATE OR REPLACE FUNCTION _data_manager_admin.queue_refusal(item jsonb) RETURNS text
LANGUAGE sql STABLE PARALLEL SAFE AS $$
  SELECT CASE
    WHEN octet_length(item ->> 'task') > 1000 OR octet_length(item ->> 'queue') NOT BETWEEN 1 AND 1000
         OR octet_length(item ->> 'limit_key') NOT BETWEEN 1 AND 1000
      THEN format('task, queue and limit_key must have 1 to 1,000 bytes, got %s, %s and %s',
                  octet_length(item ->> 'task'), octet_length(item ->> 'queue'), octet_length(item ->> 'limit_key'))
    WHEN item ?| '{priority,key_limit}'
         AND (_data_manager_admin.is_beyond(item -> 'priority', -2147483648, 2147483647)
              OR _data_manager_admin.is_beyond(item -> 'key_limit', 1, 2147483647)
              OR (item ->> 'priority')::numeric % 1 <> 0 OR (item ->> 'key_limit')::numeric % 1 <> 0)
      THEN format('priority must be an integer of 32 bits and key_limit one from 1, got %s and %s',
                  item -> 'priority', item -> 'key_limit')
    WHEN item ? 'limit_key' AND coalesce(jsonb_typeof(item -> 'key_limit'), 'null') = 'null'
         AND jsonb_typeof(item -> 'limit_key') <> 'null'
      THEN 'limit_key needs a key_limit: at most so many runs at once'
    WHEN item ?| '{delay,expires,deadline}'
         AND (_data_manager_admin.is_beyond(item -> 'delay', -4e9, 4e9) OR _data_manager_admin.is_beyond(item -> 'expires', -4e9, 4e9)
              OR _data_manager_admin.is_beyond(item -> 'deadline', -4e9, 4e9))
      THEN format('delay, expires and deadline must be numbers of seconds, at most 4,000,000,000, got %s, %s and %s',
                  item -> 'delay', item -> 'expires', item -> 'deadline')
    WHEN item ->> 'labels' IS NOT NULL
         AND (jsonb_typeof(item -> 'labels') <> 'array' OR jsonb_path_exists(item -> 'labels', '$[*] ? (@.type() != "string")'))
      THEN format('labels must be an array of strings, got %s', item -> 'labels')
    WHEN item ->> 'when_open' NOT IN ('refuse', 'return')
      THEN format('when_open must be "refuse" or "return", got %s', item -> 'when_open')
  END
$$;

-- enter_tree: a context may start subtasks, and nobody acts on its whole tree until the end of the transaction.
-- In:    spawned: as start_contexts() has it; {} for old programs
-- Out:   the root of the tree
-- Raises: as refuse_below_ended()
CREATE OR REPLACE FUNCTION _data_manager_admin.enter_tree(parent bigint, spawned jsonb) RETURNS bigint
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  root   bigint;
BEGIN
  SELECT c.root_context_id INTO root FROM _data_manager_admin.etl_context c WHERE c.context_id = parent;
  PERFORM _data_manager_admin.share_tree(root) WHERE root IS NOT NULL;
  -- Looked at under the lock: the tree may have been archived or cancelled before it was given.
  PERFORM _data_manager_admin.refuse_below_ended(parent, spawned IS NOT NULL);
  RETURN root;
END
$$;

-- refuse_below_ended: nothing begins below what was cancelled, or is being ended.
-- In:    a parent whose tree is locked; may_have_ended: whether an event says otherwise, or an old program is at work
-- Raises: DM002 there is no such context; DM006 it was cancelled, or it has ended
CREATE OR REPLACE FUNCTION _data_manager_admin.refuse_below_ended(parent bigint, may_have_ended boolean) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  state  text;
BEGIN
  SELECT c.status INTO state FROM _data_manager_admin.etl_context c WHERE c.context_id = parent;
  IF NOT FOUND THEN
    RAISE EXCEPTION USING ERRCODE = 'DM002', MESSAGE = format('There is no context %s.', parent),
      DETAIL = jsonb_build_object('context_id', parent);
  END IF;
  IF EXISTS (SELECT FROM _data_manager_admin.ending_tree) AND EXISTS (
    WITH RECURSIVE up AS (
      SELECT parent AS context_id
      UNION
      SELECT c.parent_id FROM _data_manager_admin.etl_context c JOIN up ON c.context_id = up.context_id)
    SELECT FROM up JOIN _data_manager_admin.ending_tree t USING (context_id)) THEN
    RAISE EXCEPTION USING ERRCODE = 'DM006',
      MESSAGE = format('Context %s is below one that passed its deadline, so nothing can be started there.', parent),
      DETAIL = jsonb_build_object('context_id', parent, 'status', state);
  END IF;
  IF state = 'OPEN' THEN
    RETURN;
  END IF;
  IF (state IS NOT NULL AND NOT may_have_ended) OR EXISTS (
    WITH RECURSIVE up AS (
      SELECT c.parent_id, c.status FROM _data_manager_admin.etl_context c WHERE c.context_id = parent
      UNION
      SELECT c.parent_id, c.status FROM _data_manager_admin.etl_context c JOIN up ON c.context_id = up.parent_id
        WHERE up.status IS DISTINCT FROM 'OPEN')
    SELECT FROM up WHERE up.status = 'CANCELLED') THEN
    RAISE EXCEPTION USING ERRCODE = 'DM006',
      MESSAGE = format('Context %s has ended (%s), so nothing can be started below it.', parent, coalesce(state, 'with the one above it')),
      DETAIL = jsonb_build_object('context_id', parent, 'status', state);
  END IF;
END
$$;

-- refuse_circle: nobody awaits what cannot start before they have ended.
-- In:    batch and parent as start_contexts() has them; opened: by item, the open run that it returns, if any
-- Whoever waits for a parent waits for what that waits for. A holder of a place that itself waits for a place
-- of the same key is no hope either. Longer ways round come to light when the last of them begins to wait.
CREATE OR REPLACE FUNCTION _data_manager_admin.refuse_circle(batch jsonb, parent bigint, opened bigint[]) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  waiters  bigint[];
  item     record;
  holders  bigint[];
BEGIN
  waiters := ARRAY(
    WITH RECURSIVE up AS (
      SELECT parent AS context_id
      UNION
      SELECT q.parent_id FROM up JOIN _data_manager_admin.run_queue q ON q.context_id = up.context_id
        WHERE q.is_awaited AND q.parent_id IS NOT NULL)
    SELECT up.context_id FROM up);
  FOR item IN
    SELECT t.i ->> 'limit_key' AS key, min((t.i ->> 'key_limit')::numeric)::int AS allowed, min(t.i ->> 'task') AS task,
           max(opened[t.place]) AS open, min(t.place) AS place
      FROM jsonb_array_elements(batch) WITH ORDINALITY t (i, place)
      WHERE t.i ->> 'limit_key' IS NOT NULL AND t.i -> 'awaited' = 'true' GROUP BY 1
  LOOP
    holders := ARRAY(SELECT q.context_id FROM _data_manager_admin.run_queue q
      WHERE q.limit_key = item.key AND q.state NOT IN ('blocked', 'delayed') ORDER BY 1 LIMIT item.allowed);
    CONTINUE WHEN NOT ((item.open = ANY (waiters)) IS TRUE
      OR (item.open IS NULL AND cardinality(holders) >= item.allowed AND NOT EXISTS (
        SELECT FROM unnest(holders) h
          WHERE h <> ALL (waiters) AND NOT EXISTS (
            SELECT FROM _data_manager_admin.run_queue b
              WHERE b.limit_key = item.key AND b.state = 'blocked' AND b.is_awaited AND b.parent_id = h))));
    RAISE EXCEPTION USING ERRCODE = 'DM012',
      MESSAGE = CASE WHEN item.open IS NULL
        THEN format('Context %s would wait forever: %s needs a place of %s, and context %s, which waits for it, holds %s.',
                    parent, item.task, item.key, array_to_string(holders, ', '), CASE item.allowed WHEN 1 THEN 'the only one' ELSE 'all ' || item.allowed END)
        ELSE format('Context %s would wait forever: the open run of %s is context %s, which waits for it.', parent, item.task, item.open) END,
      DETAIL = jsonb_build_object('item', item.place - 1, 'context_id', parent, 'limit_key', item.key, 'holders', holders, 'open', item.open);
  END LOOP;
END
$$;

CREATE OR REPLACE FUNCTION _data_manager_admin.start_contexts(
  batch jsonb, spawned jsonb DEFAULT NULL, parent bigint DEFAULT NULL)
RETURNS TABLE (context_id bigint, is_new boolean)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
SET plan_cache_mode = force_generic_plan
SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off
AS $$
#variable_conflict use_column
DECLARE
  item   record;
  items  int := jsonb_array_length(batch);
  named  boolean := jsonb_path_exists(batch, '$[*].idempotency_key');  -- what no item has needs no look
  keys    text[] := '{}';
  ids     bigint[];
  events  bigint[];
  fresh   boolean[] := array_fill(TRUE, ARRAY[items]);
  made    bigint[] := '{}';  -- starts that were made already
  opened  bigint[] := '{}';  -- by item: the run that is open instead
  root    bigint;
  flag    text;
BEGIN
  SELECT r.place, r.refusal INTO item
    FROM (SELECT t.place, coalesce(
                   _data_manager_admin.shape_refusal(t.event), _data_manager_admin.event_refusal(t.type, t.payload, t.meta, t.error),
                   _data_manager_admin.start_refusal(t.i, t.meta), _data_manager_admin.queue_refusal(t.i)) AS refusal
            FROM (SELECT j.place, j.i, j.i -> 'event' AS event, j.i -> 'event' ->> 'type' AS type, j.i -> 'event' -> 'payload' AS payload,
                         nullif(j.i -> 'event' -> 'meta', 'null') AS meta, j.i -> 'event' -> 'error' = 'true' AS error
                    FROM jsonb_array_elements(batch) WITH ORDINALITY j (i, place) OFFSET 0) t OFFSET 0) r
    WHERE r.refusal IS NOT NULL LIMIT 1;
  IF FOUND THEN
    RAISE EXCEPTION USING ERRCODE = 'DM001', MESSAGE = format('Not an event: %s.', item.refusal),
      DETAIL = jsonb_build_object('item', item.place - 1);
  END IF;
  IF named AND items > 1 THEN
    SELECT t.i ->> 'idempotency_key' AS key INTO item
      FROM jsonb_array_elements(batch) t (i) WHERE t.i ->> 'idempotency_key' IS NOT NULL
      GROUP BY t.i ->> 'task', t.i ->> 'idempotency_key' HAVING count(*) > 1 LIMIT 1;
    IF FOUND THEN
      RAISE EXCEPTION USING ERRCODE = 'DM003',
        MESSAGE = format('The idempotency key %s comes twice in one batch.', item.key);
    END IF;
  END IF;
  IF parent IS NOT NULL THEN
    root := _data_manager_admin.enter_tree(parent, spawned);
  END IF;

  IF jsonb_path_exists(batch, '$[*].limit_key') THEN
    keys := ARRAY(SELECT DISTINCT i ->> 'limit_key' FROM jsonb_array_elements(batch) i WHERE i ->> 'limit_key' IS NOT NULL);
  END IF;
  -- The SPAWNED of the parent comes last, and the INSERT of a start that was made already waits for whoever
  -- writes to its context; but whoever waits for a key of any kind must have these contexts before.
  IF keys <> '{}' OR spawned IS NOT NULL THEN
    IF named THEN
      made := ARRAY(
        SELECT k.context_id FROM jsonb_array_elements(batch) t (i)
          JOIN _data_manager_admin.etl_context k ON k.task = t.i ->> 'task' AND k.idempotency_key = t.i ->> 'idempotency_key'
          WHERE k.idempotency_key IS NOT NULL);
    END IF;
    IF parent IS NOT NULL OR made <> '{}' THEN
      PERFORM FROM _data_manager_admin.etl_context c WHERE c.context_id = ANY (parent || made)
        ORDER BY c.context_id FOR NO KEY UPDATE;
    END IF;
  END IF;
  IF keys <> '{}' THEN
    PERFORM _data_manager_admin.lock_keys(keys);
  END IF;

  SELECT coalesce(array_agg(nextval('_data_manager_admin.etl_context_context_id_seq')), '{}'),
         array_agg(nextval('_data_manager_admin.event_store_prototype_event_id_seq'))
    INTO ids, events FROM generate_series(1, items);
  IF keys <> '{}' AND jsonb_path_exists(batch, '$[*].when_open') THEN
    FOR item IN
      SELECT t.place, t.i ->> 'when_open' AS wish, t.key, coalesce(
               (SELECT min(q.context_id) FROM _data_manager_admin.run_queue q WHERE q.limit_key = t.key),
               CASE WHEN t.first_place < t.place THEN ids[t.first_place] END) AS open
        FROM (SELECT j.i, j.place, j.i ->> 'limit_key' AS key, min(j.place) OVER (PARTITION BY j.i ->> 'limit_key') AS first_place
                FROM jsonb_array_elements(batch) WITH ORDINALITY j (i, place)) t
        WHERE t.i ->> 'when_open' IS NOT NULL AND t.key IS NOT NULL AND NOT EXISTS (
          SELECT FROM _data_manager_admin.etl_context c
            WHERE c.task = t.i ->> 'task' AND c.idempotency_key = t.i ->> 'idempotency_key'
              AND c.idempotency_key IS NOT NULL)
    LOOP
      CONTINUE WHEN item.open IS NULL;
      IF item.wish = 'refuse' THEN
        RAISE EXCEPTION USING ERRCODE = 'DM008',
          MESSAGE = format('Context %s is open, and only one of %s may be.', item.open, item.key),
          DETAIL = jsonb_build_object('item', item.place - 1, 'context_id', item.open);
      END IF;
      ids[item.place] := item.open;
      fresh[item.place] := FALSE;
      opened[item.place] := item.open;
    END LOOP;
  END IF;
  IF keys <> '{}' AND parent IS NOT NULL AND batch @> '[{"awaited": true}]' THEN
    PERFORM _data_manager_admin.refuse_circle(batch, parent, opened);
  END IF;

  flag := set_config('dama.appending', 'by its rules', TRUE);
  INSERT INTO _data_manager_admin.etl_context
    (context_id, parent_id, root_context_id, task, status, version, initial_event_id, latest_event_id, idempotency_key)
  SELECT ids[t.place], parent, coalesce(root, ids[t.place]), t.i ->> 'task', 'OPEN', 1,
         events[t.place], events[t.place], t.i ->> 'idempotency_key'
    FROM jsonb_array_elements(batch) WITH ORDINALITY t (i, place)
    WHERE fresh[t.place]
    ORDER BY t.i ->> 'task', t.i ->> 'idempotency_key'  -- in one order, for others insert the same keys
  ON CONFLICT (task, idempotency_key) WHERE idempotency_key IS NOT NULL DO NOTHING;

  IF named THEN
    FOR item IN
      SELECT t.place, c.context_id, e.payload AS first_payload, t.i -> 'event' -> 'payload' AS payload, t.i ->> 'idempotency_key' AS key
        FROM jsonb_array_elements(batch) WITH ORDINALITY t (i, place)
        JOIN _data_manager_admin.etl_context c
          ON c.task = t.i ->> 'task' AND c.idempotency_key = t.i ->> 'idempotency_key'
         AND c.idempotency_key IS NOT NULL AND c.context_id <> ids[t.place]
        LEFT JOIN _data_manager_admin.event_store_prototype e ON e.event_id = c.initial_event_id
        WHERE t.i ? 'idempotency_key' AND fresh[t.place]
    LOOP
      IF item.first_payload IS DISTINCT FROM item.payload AND item.first_payload IS NOT NULL THEN
        RAISE EXCEPTION USING ERRCODE = 'DM003',
          MESSAGE = format('The idempotency key %s was used for context %s with other params.', item.key, item.context_id),
          DETAIL = jsonb_build_object('item', item.place - 1, 'context_id', item.context_id);
      END IF;
      ids[item.place] := item.context_id;
      fresh[item.place] := FALSE;
    END LOOP;
  END IF;

  INSERT INTO _data_manager_admin.event_store_prototype
    (event_id, etl_context_id, type, payload, meta, error, version)
  SELECT events[t.place], ids[t.place], t.i -> 'event' ->> 'type', t.i -> 'event' -> 'payload',
         t.i -> 'event' -> 'meta', (t.i -> 'event' ->> 'error')::boolean, 1
    FROM jsonb_array_elements(batch) WITH ORDINALITY t (i, place)
    WHERE fresh[t.place];
  flag := set_config('dama.appending', '', TRUE);
  INSERT INTO _data_manager_admin.run_queue
    (context_id, root_context_id, parent_id, task, queue, priority, state, due_at, expires_at,
     limit_key, key_limit, deadline_at, labels, is_awaited)
  SELECT ids[t.place], coalesce(root, ids[t.place]), parent, t.i ->> 'task',
         coalesce(t.i ->> 'queue', 'default'), coalesce((t.i ->> 'priority')::numeric::int, 0),
         CASE WHEN t.i ->> 'delay' IS NOT NULL THEN 'delayed' WHEN t.i ->> 'limit_key' IS NOT NULL THEN 'blocked' ELSE 'queued' END,
         clock_timestamp() + (t.i ->> 'delay')::double precision * interval '1 second',
         clock_timestamp() + (t.i ->> 'expires')::double precision * interval '1 second',
         t.i ->> 'limit_key', (t.i ->> 'key_limit')::numeric::int,
         clock_timestamp() + (t.i ->> 'deadline')::double precision * interval '1 second',
         ARRAY(SELECT jsonb_array_elements_text(t.i -> 'labels') WHERE t.i ->> 'labels' IS NOT NULL),
         parent IS NOT NULL AND t.i -> 'awaited' IS NOT DISTINCT FROM 'true'
    FROM jsonb_array_elements(batch) WITH ORDINALITY t (i, place)
    WHERE fresh[t.place];

  IF keys <> '{}' THEN
    PERFORM _data_manager_admin.admit_blocked(keys);
  END IF;

  IF spawned IS NOT NULL THEN
    PERFORM _data_manager_admin.append_events(jsonb_build_array(jsonb_build_object(
      'context_id', parent,
      'event', spawned || jsonb_build_object('payload', jsonb_build_object('context_ids', to_jsonb(ids))))));
  END IF;
  IF items = 1 THEN
    context_id := ids[1]; is_new := fresh[1];
    RETURN NEXT;
    RETURN;
  END IF;
  RETURN QUERY SELECT * FROM unnest(ids, fresh);
END
$$;
