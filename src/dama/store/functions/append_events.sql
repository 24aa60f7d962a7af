-- append_events: append a batch of events in one transaction. The write path of all new code.
--
-- In:    batch jsonb: an array of {"context_id", "event", "expected_version"?}; event is a Flux
--        Standard Action. meta.idempotency_key makes it safe to send again, meta.epoch says which
--        run writes it. expected_version is the version last seen (0 for none).
-- Out:   one row per item, in the order given: event_id, version, is_new (false: the key was known
--        and this is the first event with it)
-- Locks: the context rows, FOR NO KEY UPDATE, in context_id order, so batches do not deadlock;
--        then rows of run_queue
-- Raises, before anything is written; DETAIL is JSON {"item", "context_id", ...}:
--        DM001 not a Flux Standard Action      DM004 stale epoch
--        DM002 unknown context                 DM005 another version than expected
--        DM003 key known with another body     DM006 the life cycle forbids it
-- The order of the checks: DM001, DM002, DM003, DM004, DM005, DM006.
-- A run begins with STARTED; with ADOPTED when its program continues, with LOST when that is gone. Each
-- of them raises the epoch of the context. A program that was adopted keeps its own, and may write with
-- it what is not for the controller alone.
-- The planner settings pin nested loops and generic plans: plans do not depend on how full the
-- tables were when a session first called it, and no call pays for planning.
-- While it writes, dama.appending says so: with the role of the owner, which only a function of the owner has
-- here, that tells the guards of both tables that the rules were held.

-- Whether an event is of a program that a later run of its context has adopted.
CREATE OR REPLACE FUNCTION _data_manager_admin.is_adopted(context bigint, epoch bigint, type text) RETURNS boolean
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
  SELECT type !~ ':(INITIAL|PLACED|UNPLACED|STARTED|ADOPTED|LOST|RETRYING|RESUMED|ERROR|CANCELLED|FINAL)$'
     AND EXISTS (SELECT FROM _data_manager_admin.run_queue q
                   WHERE q.context_id = context AND q.program_epoch = is_adopted.epoch)
$$;

-- refuse_late_beginning: a context that was inserted directly gets its first event, though what is above it has ended.
-- In:    a context whose row is locked: who acts on its tree comes before or after
-- Raises: as refuse_below_ended()
CREATE OR REPLACE FUNCTION _data_manager_admin.refuse_late_beginning(context bigint) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  PERFORM _data_manager_admin.refuse_below_ended(c.parent_id, TRUE)
    FROM _data_manager_admin.etl_context c WHERE c.context_id = context AND c.parent_id IS NOT NULL;
END
$$;

-- Says which item of a batch is to blame when some context is not there.
CREATE OR REPLACE FUNCTION _data_manager_admin.refuse_unknown_context(batch jsonb) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  item    record;
  refusal text;
BEGIN
  FOR item IN
    SELECT t.place, t.i ->> 'context_id' AS context_id, t.i -> 'event' AS event
      FROM jsonb_array_elements(batch) WITH ORDINALITY t (i, place)
      WHERE NOT EXISTS (SELECT FROM _data_manager_admin.etl_context c
                          WHERE c.context_id = (t.i ->> 'context_id')::bigint)
      ORDER BY t.place
  LOOP
    refusal := _data_manager_admin.fsa_refusal(item.event);
    RAISE EXCEPTION USING
      ERRCODE = CASE WHEN refusal IS NULL THEN 'DM002' ELSE 'DM001' END,
      MESSAGE = coalesce('Not an event: ' || refusal || '.',
                         format('There is no context %s.', coalesce(item.context_id, 'without an id'))),
      DETAIL = jsonb_build_object('item', item.place - 1, 'context_id', item.context_id);
  END LOOP;
END
$$;

CREATE OR REPLACE FUNCTION _data_manager_admin.append_events(batch jsonb)
RETURNS TABLE (event_id bigint, version bigint, is_new boolean)
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET plan_cache_mode = force_generic_plan
SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off SET enable_bitmapscan = off
AS $$
#variable_conflict use_column
DECLARE
  flag       text;
  item       record;
  earlier    record;
  refusal    text;
  event_ids  bigint[] := '{}';   -- by item
  versions   bigint[] := '{}';   -- by item
  fresh      boolean[] := '{}';  -- by item
  now_id     bigint;             -- the context at hand, as it will be
  now_version bigint;
  now_status text;
  now_epoch  bigint;
  now_first  bigint;
  now_latest bigint;
  now_keys   text[];             -- the keys that this batch has used in it
  ids        bigint[] := '{}';   -- by context touched
  firsts     bigint[] := '{}';
  latest     bigint[] := '{}';
  counts     bigint[] := '{}';
  statuses   text[] := '{}';
  epochs     bigint[] := '{}';
  ended      bigint[] := '{}';   -- contexts that end in this batch
  failed     bigint[] := '{}';   -- those of them that may be resumed
  seen       int := 0;           -- items whose context is there
  signals    text[] := '{}';     -- the types of the events from outside a run
BEGIN
  FOR item IN
    SELECT t.place, t.i ->> 'expected_version' AS expected,
           t.i -> 'event' AS event, t.i -> 'event' ->> 'type' AS type, t.i -> 'event' -> 'payload' AS payload,
           nullif(t.i -> 'event' -> 'meta', 'null') AS meta, t.i -> 'event' -> 'error' = 'true' AS error,
           c.context_id, c.version, c.status, c.epoch
      FROM (SELECT j.i, j.place, (j.i ->> 'context_id')::bigint AS context_id
              FROM jsonb_array_elements(batch) WITH ORDINALITY j (i, place)
              ORDER BY 3, 2) t
      -- By index from item to item: a join could be planned as a look at all contexts, as long as a
      -- session believes that there are few.
      CROSS JOIN LATERAL (
        SELECT o.context_id, o.version, o.status, o.epoch FROM _data_manager_admin.etl_context o
          WHERE o.context_id = t.context_id FOR NO KEY UPDATE) c
      ORDER BY t.context_id, t.place
  LOOP
    -- As fsa_refusal(), on what was taken apart already.
    refusal := coalesce(_data_manager_admin.shape_refusal(item.event),
                        _data_manager_admin.event_refusal(item.type, item.payload, item.meta, item.error));
    IF refusal IS NOT NULL THEN
      RAISE EXCEPTION USING ERRCODE = 'DM001', MESSAGE = format('Not an event: %s.', refusal),
        DETAIL = jsonb_build_object('item', item.place - 1, 'context_id', item.context_id);
    END IF;
    IF item.context_id IS DISTINCT FROM now_id THEN
      IF now_latest IS NOT NULL THEN
        ids := ids || now_id; firsts := firsts || now_first; latest := latest || now_latest; counts := counts || now_version;
        statuses := statuses || now_status; epochs := epochs || now_epoch;
      END IF;
      now_id := item.context_id; now_version := item.version; now_status := item.status;
      now_epoch := item.epoch; now_first := NULL; now_latest := NULL; now_keys := '{}';
    END IF;

    -- What cannot be a repetition needs no look: the keys of a run that starts for the first time, and of
    -- the FINAL of a context that has none. No other event has such keys (event_refusal()).
    IF item.meta ? 'idempotency_key'
       AND NOT (item.type LIKE '%:STARTED' AND item.meta ->> 'idempotency_key' LIKE 'STARTED#%'
                AND (item.meta ->> 'epoch')::bigint > now_epoch)
       AND NOT (item.type LIKE '%:FINAL' AND item.meta ->> 'idempotency_key' LIKE 'FINAL#%' AND now_status <> 'DONE') THEN
      SELECT e.event_id, e.version, e.type, e.payload, e.error INTO earlier
        FROM _data_manager_admin.event_store_prototype e
        WHERE e.etl_context_id = now_id AND e.meta ? 'idempotency_key'
          AND e.meta ->> 'idempotency_key' = item.meta ->> 'idempotency_key';
      IF FOUND THEN
        IF (earlier.type, earlier.payload, earlier.error IS TRUE) IS DISTINCT FROM
           (item.type, item.payload, item.event -> 'error' IS NOT DISTINCT FROM 'true') THEN
          RAISE EXCEPTION USING ERRCODE = 'DM003',
            MESSAGE = format('Context %s has an event with the idempotency key %s and another body.', now_id, item.meta ->> 'idempotency_key'),
            DETAIL = jsonb_build_object('item', item.place - 1, 'context_id', now_id, 'event_id', earlier.event_id);
        END IF;
        event_ids[item.place] := earlier.event_id; versions[item.place] := earlier.version; fresh[item.place] := FALSE;
        seen := seen + 1;
        CONTINUE;
      END IF;
      IF item.meta ->> 'idempotency_key' = ANY (now_keys) THEN
        RAISE EXCEPTION USING ERRCODE = 'DM003',
          MESSAGE = format('The idempotency key %s comes twice in one batch for context %s.', item.meta ->> 'idempotency_key', now_id),
          DETAIL = jsonb_build_object('item', item.place - 1, 'context_id', now_id);
      END IF;
    END IF;

    IF item.meta ? 'epoch' THEN
      IF (item.meta ->> 'epoch')::bigint > now_epoch
         AND (right(item.type, 8) IN (':STARTED', ':ADOPTED') OR right(item.type, 5) = ':LOST') THEN
        now_epoch := (item.meta ->> 'epoch')::bigint;
      ELSIF right(item.type, 8) IN (':STARTED', ':ADOPTED')
            OR ((item.meta ->> 'epoch')::bigint <> now_epoch
                AND NOT _data_manager_admin.is_adopted(now_id, (item.meta ->> 'epoch')::bigint, item.type)) THEN
        RAISE EXCEPTION USING ERRCODE = 'DM004',
          MESSAGE = format('Context %s is run by epoch %s; epoch %s is stale and may not write.', now_id, now_epoch, item.meta ->> 'epoch'),
          DETAIL = jsonb_build_object('item', item.place - 1, 'context_id', now_id, 'epoch', item.meta -> 'epoch', 'found', now_epoch);
      END IF;
      -- Its run left the queue with the ERROR: a late event would leave it open without one.
      IF now_status = 'ERROR' THEN
        RAISE EXCEPTION USING ERRCODE = 'DM004',
          MESSAGE = format('Context %s has failed, and its run of epoch %s is over; it may not write.', now_id, item.meta ->> 'epoch'),
          DETAIL = jsonb_build_object('item', item.place - 1, 'context_id', now_id, 'epoch', item.meta -> 'epoch', 'found', now_epoch);
      END IF;
    ELSE
      signals := signals || item.type;
    END IF;

    -- One from outside would leave it open with no run that could end it. A context in which no run of
    -- ours began is an old program's, and continues with any event.
    IF now_status = 'ERROR' AND now_epoch > 0 AND item.type !~ ':(RESUMED|CANCELLED)$' THEN
      RAISE EXCEPTION USING ERRCODE = 'DM006',
        MESSAGE = format('Context %s has failed; only an event that ends in :RESUMED may follow, got %s.', now_id, item.type),
        HINT = format('Resume it first, with `dama resume %s`; then send the event.', now_id),
        DETAIL = jsonb_build_object('item', item.place - 1, 'context_id', now_id, 'status', now_status);
    END IF;

    IF item.expected::bigint <> now_version THEN
      RAISE EXCEPTION USING ERRCODE = 'DM005',
        MESSAGE = format('Context %s is at version %s, not %s: another writer came first.', now_id, now_version, item.expected),
        DETAIL = jsonb_build_object('item', item.place - 1, 'context_id', now_id, 'expected', item.expected::bigint, 'found', now_version);
    END IF;

    refusal := _data_manager_admin.life_cycle_refusal(now_id, now_version, now_status, item.type);
    IF refusal IS NOT NULL THEN
      RAISE EXCEPTION USING ERRCODE = 'DM006', MESSAGE = refusal,
        DETAIL = jsonb_build_object('item', item.place - 1, 'context_id', now_id, 'status', now_status);
    END IF;
    IF now_version = 0 THEN
      PERFORM _data_manager_admin.refuse_late_beginning(now_id);
    END IF;

    IF item.meta ? 'idempotency_key' THEN
      now_keys := now_keys || (item.meta ->> 'idempotency_key');
    END IF;
    now_version := now_version + 1;
    now_status := _data_manager_admin.status_after(item.type);
    now_latest := nextval('_data_manager_admin.event_store_prototype_event_id_seq');
    now_first := coalesce(now_first, now_latest);
    event_ids[item.place] := now_latest; versions[item.place] := now_version; fresh[item.place] := TRUE;
    IF now_status <> 'OPEN' THEN
      ended := ended || now_id;
      IF now_status <> 'DONE' THEN
        failed := failed || now_id;
      END IF;
    END IF;
    seen := seen + 1;
  END LOOP;

  IF seen < jsonb_array_length(batch) THEN
    PERFORM _data_manager_admin.refuse_unknown_context(batch);
  END IF;

  IF now_latest IS NOT NULL THEN
    ids := ids || now_id; firsts := firsts || now_first; latest := latest || now_latest; counts := counts || now_version;
    statuses := statuses || now_status; epochs := epochs || now_epoch;
  END IF;

  flag := set_config('dama.appending', 'by its rules', TRUE);
  INSERT INTO _data_manager_admin.event_store_prototype
    (event_id, etl_context_id, type, payload, meta, error, version)
  SELECT event_ids[t.place], (t.i ->> 'context_id')::bigint, t.i -> 'event' ->> 'type',
         t.i -> 'event' -> 'payload', nullif(t.i -> 'event' -> 'meta', 'null'),
         (t.i -> 'event' ->> 'error')::boolean, versions[t.place]
    FROM jsonb_array_elements(batch) WITH ORDINALITY t (i, place)
    WHERE fresh[t.place];

  -- Most batches are of one context: without a join each statement starts sooner.
  IF ids = ARRAY[now_id] THEN
    UPDATE _data_manager_admin.etl_context c
      SET version = now_version, status = now_status, epoch = now_epoch, latest_event_id = now_latest,
          initial_event_id = coalesce(c.initial_event_id, now_first), modified_at = clock_timestamp()
      WHERE c.context_id = now_id;
  ELSE
    UPDATE _data_manager_admin.etl_context c
      SET version = u.version, status = u.status, epoch = u.epoch, latest_event_id = u.latest,
          initial_event_id = coalesce(c.initial_event_id, u.first), modified_at = clock_timestamp()
      FROM unnest(ids, counts, statuses, epochs, firsts, latest)
           u (id, version, status, epoch, first, latest)
        CROSS JOIN LATERAL (  -- by index, as above
          SELECT o.ctid FROM _data_manager_admin.etl_context o WHERE o.context_id = u.id OFFSET 0) o
      WHERE c.ctid = o.ctid;
  END IF;
  flag := set_config('dama.appending', '', TRUE);

  IF ended <> '{}' THEN
    PERFORM _data_manager_admin.settle_runs(ended, failed);
  END IF;
  IF signals <> '{}' THEN
    IF ids = ARRAY[now_id] THEN
      UPDATE _data_manager_admin.run_queue q SET state = 'queued', due_at = NULL
        WHERE q.context_id = now_id AND q.state = 'waiting' AND q.wake_types && signals;
    ELSE
      PERFORM 1 FROM _data_manager_admin.run_queue q
        WHERE q.context_id = ANY (ids) ORDER BY q.context_id FOR NO KEY UPDATE;
      UPDATE _data_manager_admin.run_queue q SET state = 'queued', due_at = NULL
        FROM jsonb_array_elements(batch) t (i)
        WHERE q.context_id = (t.i ->> 'context_id')::bigint AND q.state = 'waiting'
          AND t.i -> 'event' ->> 'type' = ANY (q.wake_types);
    END IF;
  END IF;

  IF cardinality(event_ids) = 1 THEN
    event_id := event_ids[1]; version := versions[1]; is_new := fresh[1];
    RETURN NEXT;
    RETURN;
  END IF;
  RETURN QUERY SELECT * FROM unnest(event_ids, versions, fresh);
END
$$;
