-- guards: what keeps both public tables right whoever writes.
--
-- Old programs INSERT directly: the guards give such a row the rules of append_events() and all columns
-- that are ours, whatever the row says of them. append_events() and start_contexts() hold the rules
-- themselves and do not meet the guards: a guard costs them the look at who they are.
-- - Who they are: the role is that of the owner, which no caller can take on, and dama.appending says that the
--   rules were held, in words that nobody sets by accident: it keeps the owner's own INSERTs from passing. The
--   owner could as well disable the triggers. Both are looked at in the WHEN of the triggers, where only built-in
--   functions are called: nothing of a caller's search_path is executed. The words are few and constant, since
--   each statement reads the conditions from the catalog again (docs/decisions/0038).
-- - A row is decided on BEFORE it is stored, and changes its context AFTER: one that ON CONFLICT or another
--   trigger leaves out has changed nothing.
-- - History is never changed: only the owner of the table may, and only after
--   SET LOCAL dama.rewrite_history = 'on' in the same transaction, which a migration does. A member of that
--   role may change and remove rows then; to insert some as they were it needs SET ROLE, too.

-- admit_event: decide on a row of a direct INSERT. Locks the row of the context and writes nothing.
CREATE OR REPLACE FUNCTION _data_manager_admin.admit_event() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  refusal text;
  context record;
  latest  record;
  earlier record;
BEGIN
  refusal := _data_manager_admin.event_refusal(NEW.type, NEW.payload, NEW.meta, NEW.error);
  IF refusal IS NOT NULL THEN
    RAISE EXCEPTION USING ERRCODE = 'DM001', MESSAGE = format('Not an event: %s.', refusal);
  END IF;
  NEW.meta := nullif(NEW.meta, 'null');
  SELECT c.context_id, c.task, c.epoch INTO context
    FROM _data_manager_admin.etl_context c WHERE c.context_id = NEW.etl_context_id
    FOR NO KEY UPDATE;
  IF NOT FOUND THEN
    RAISE EXCEPTION USING ERRCODE = 'DM002', MESSAGE = format('There is no context %s.', coalesce(NEW.etl_context_id::text, 'without an id'));
  END IF;
  -- From the events, not from the context: those of the same statement have not changed that yet.
  SELECT coalesce(max(e.version), 0) AS version, max(_data_manager_admin.status_after(e.type)) AS status INTO latest
    FROM (SELECT l.version, l.type FROM _data_manager_admin.event_store_prototype l
            WHERE l.etl_context_id = NEW.etl_context_id ORDER BY l.version DESC LIMIT 1) e;

  -- INSERT ... ON CONFLICT leaves out what meets an index, and that comes after this. No trigger is told of
  -- the clause: where its words are not in the text of the query, what is known already is refused here.
  IF current_query() ~* 'on\s+conflict' AND EXISTS (
       SELECT FROM _data_manager_admin.event_store_prototype e WHERE e.event_id = NEW.event_id
       UNION ALL
       SELECT FROM _data_manager_admin.event_store_prototype e
         WHERE e.etl_context_id = NEW.etl_context_id AND (e.version = NEW.version
           OR (e.type LIKE '%:INITIAL' AND NEW.type LIKE '%:INITIAL') OR (e.type LIKE '%:FINAL' AND NEW.type LIKE '%:FINAL')
           OR e.meta ->> 'idempotency_key' = NEW.meta ->> 'idempotency_key')) THEN
    NEW.version := coalesce(NEW.version, latest.version + 1);
    RETURN NEW;
  END IF;
  IF NEW.meta ? 'idempotency_key' THEN
    SELECT e.event_id INTO earlier
      FROM _data_manager_admin.event_store_prototype e
      WHERE e.etl_context_id = NEW.etl_context_id AND e.meta ? 'idempotency_key'
        AND e.meta ->> 'idempotency_key' = NEW.meta ->> 'idempotency_key';
    IF FOUND THEN
      RAISE EXCEPTION USING ERRCODE = 'DM003',
        MESSAGE = format('Context %s has an event with the idempotency key %s already: event %s.', NEW.etl_context_id, NEW.meta ->> 'idempotency_key', earlier.event_id),
        HINT = 'It is kept. Use another key for another event; INSERT ... ON CONFLICT DO NOTHING leaves out what is there.';
    END IF;
  END IF;
  IF NEW.meta ? 'epoch' AND ((NEW.meta ->> 'epoch')::bigint <> context.epoch OR latest.status = 'ERROR') THEN
    RAISE EXCEPTION USING ERRCODE = 'DM004',
      MESSAGE = format(CASE WHEN (NEW.meta ->> 'epoch')::bigint = context.epoch
                         THEN 'Context %s has failed, and its run of epoch %s is over; it may not write.'
                         ELSE 'Context %s is run by epoch %s; epoch %s is stale and may not write.' END,
                       NEW.etl_context_id, context.epoch, NEW.meta ->> 'epoch');
  END IF;
  IF NEW.version <> latest.version + 1 THEN
    RAISE EXCEPTION USING ERRCODE = 'DM005',
      MESSAGE = format('Context %s is at version %s, so its next event is not number %s.', NEW.etl_context_id, latest.version, NEW.version),
      HINT = 'Leave the version out: it is given here.';
  END IF;
  -- As in append_events(): it would be open with no run that could end it.
  IF latest.status = 'ERROR' AND context.epoch > 0 AND NEW.type !~ ':(RESUMED|CANCELLED)$' THEN
    RAISE EXCEPTION USING ERRCODE = 'DM006',
      MESSAGE = format('Context %s has failed; only an event that ends in :RESUMED may follow, got %s.', NEW.etl_context_id, NEW.type),
      HINT = format('Resume it first, with `dama resume %s`; then send the event.', NEW.etl_context_id);
  END IF;
  refusal := _data_manager_admin.life_cycle_refusal(
    NEW.etl_context_id, latest.version, latest.status, NEW.type);
  IF refusal IS NOT NULL THEN
    RAISE EXCEPTION USING ERRCODE = 'DM006', MESSAGE = refusal;
  END IF;
  IF latest.version = 0 THEN
    PERFORM _data_manager_admin.refuse_late_beginning(NEW.etl_context_id);
  END IF;
  refusal := _data_manager_admin.reserved_refusal(
    NEW.etl_context_id, context.task, NEW.type, NEW.meta ->> 'idempotency_key');
  IF refusal IS NOT NULL THEN
    RAISE EXCEPTION USING ERRCODE = 'DM010', MESSAGE = refusal;
  END IF;
  NEW.event_id := coalesce(NEW.event_id, nextval('_data_manager_admin.event_store_prototype_event_id_seq'));
  IF NEW.event_id NOT BETWEEN 1 AND _data_manager_admin.last_drawn('_data_manager_admin.event_store_prototype_event_id_seq') THEN
    RAISE EXCEPTION USING ERRCODE = 'DM001',
      MESSAGE = format('Not an event: its id must come from the sequence, and that has not come to %s.', NEW.event_id),
      HINT = 'Leave event_id out: it has a default.';
  END IF;
  NEW.version := latest.version + 1;
  NEW.created_at := clock_timestamp();
  NEW.xid := pg_current_xact_id();
  RETURN NEW;
END
$$;

-- follow_event: what a row of a direct INSERT means for its context and the queue, once it is stored.
CREATE OR REPLACE FUNCTION _data_manager_admin.follow_event() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  after text := _data_manager_admin.status_after(NEW.type);
  flag  text;
BEGIN
  flag := set_config('dama.appending', 'by its rules', TRUE);
  UPDATE _data_manager_admin.etl_context c
    SET version = NEW.version, status = after,
        latest_event_id = NEW.event_id, initial_event_id = coalesce(c.initial_event_id, NEW.event_id),
        modified_at = clock_timestamp()
    WHERE c.context_id = NEW.etl_context_id;
  flag := set_config('dama.appending', '', TRUE);
  IF after <> 'OPEN' THEN
    PERFORM _data_manager_admin.settle_runs(
      ARRAY[NEW.etl_context_id], CASE after WHEN 'DONE' THEN '{}' ELSE ARRAY[NEW.etl_context_id] END);
  ELSE
    UPDATE _data_manager_admin.run_queue q SET state = 'queued', due_at = NULL
      WHERE q.context_id = NEW.etl_context_id AND q.state = 'waiting' AND NEW.type = ANY (q.wake_types);
  END IF;
  RETURN NULL;
END
$$;

-- admit_context: of a context that is inserted directly only its id and its parent are the writer's.
-- Raises: DM001 its id is not of the sequence; DM002, DM006 the parent is not there, or was cancelled
CREATE OR REPLACE FUNCTION _data_manager_admin.admit_context() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  NEW.context_id := coalesce(NEW.context_id, nextval('_data_manager_admin.etl_context_context_id_seq'));
  IF NEW.context_id NOT BETWEEN 1 AND _data_manager_admin.last_drawn('_data_manager_admin.etl_context_context_id_seq') THEN
    RAISE EXCEPTION USING ERRCODE = 'DM001',
      MESSAGE = format('Not a context: its id must come from the sequence, and that has not come to %s.', NEW.context_id),
      HINT = 'Leave context_id out: it has a default.';
  END IF;
  PERFORM _data_manager_admin.refuse_below_ended(NEW.parent_id, TRUE) WHERE NEW.parent_id IS NOT NULL;
  NEW.root_context_id := NULL;
  NEW.task := NULL;
  NEW.status := NULL;
  NEW.version := 0;
  NEW.epoch := 0;
  NEW.initial_event_id := NULL;
  NEW.latest_event_id := NULL;
  NEW.idempotency_key := NULL;
  NEW.created_at := clock_timestamp();
  NEW.modified_at := NEW.created_at;
  RETURN NEW;
END
$$;

-- join_tree: a context that was inserted directly, perhaps below another one, is committed. Whoever cancelled the tree
-- in between has not seen it: it is refused now. Not before, for an old program may keep its transaction open for hours,
-- and nobody waits for that to cancel what it is a part of.
-- Locks: the tree of the parent, shared
CREATE OR REPLACE FUNCTION _data_manager_admin.join_tree() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  IF NEW.parent_id IS NOT NULL THEN  -- a condition of the trigger would tie the column to its type
    PERFORM _data_manager_admin.enter_tree(NEW.parent_id, '{}');
  END IF;
  RETURN NULL;
END
$$;

-- last_drawn: how far a sequence has come; 0 when nothing was drawn from it.
CREATE OR REPLACE FUNCTION _data_manager_admin.last_drawn(sequence regclass) RETURNS bigint
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
  SELECT coalesce(pg_sequence_last_value(sequence), 0)
$$;

CREATE OR REPLACE FUNCTION _data_manager_admin.place_context() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  NEW.root_context_id := coalesce(
    (SELECT p.root_context_id FROM _data_manager_admin.etl_context p WHERE p.context_id = NEW.parent_id),
    NEW.context_id);
  RETURN NEW;
END
$$;

CREATE OR REPLACE FUNCTION _data_manager_admin.refuse_rewriting() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  IF current_setting('dama.rewrite_history', TRUE) = 'on'
     AND pg_has_role((SELECT relowner FROM pg_class WHERE oid = TG_RELID), 'MEMBER') THEN
    RETURN NULL;
  END IF;
  RAISE EXCEPTION USING ERRCODE = 'DM007',
    MESSAGE = format('%s of %I is refused: history is never changed.', TG_OP, TG_TABLE_NAME),
    HINT = 'Append an event that corrects what was wrong.';
END
$$;
