-- guards: what keeps both public tables right whoever writes.
--
-- Old programs INSERT events directly: the guard gives such a row the rules of append_events(),
-- its version, and the context its status. append_events() and start_contexts() hold the rules
-- themselves, set dama.appending while they do, and do not meet it: a guard costs them the look at
-- the setting. History is never changed: only the owner of the table may, and only after
-- SET LOCAL dama.rewrite_history = 'on' in the same transaction, which a migration does.

CREATE OR REPLACE FUNCTION _data_manager_admin.admit_event() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET dama.appending = 'on' AS $$
DECLARE
  refusal text;
  context record;
BEGIN
  -- The session's role: the current one is the owner in here, whoever calls.
  IF NEW.version IS NOT NULL AND current_setting('dama.rewrite_history', TRUE) = 'on'
     AND pg_has_role(session_user, (SELECT relowner FROM pg_class WHERE oid = TG_RELID), 'MEMBER') THEN
    RETURN NEW;
  END IF;
  refusal := _data_manager_admin.event_refusal(NEW.type, NEW.payload, NEW.meta, NEW.error);
  IF refusal IS NOT NULL THEN
    RAISE EXCEPTION USING ERRCODE = 'DM001', MESSAGE = format('Not an event: %s.', refusal);
  END IF;
  SELECT c.context_id, c.version, c.status, c.epoch INTO context
    FROM _data_manager_admin.etl_context c WHERE c.context_id = NEW.etl_context_id
    FOR NO KEY UPDATE;
  IF NOT FOUND THEN
    RAISE EXCEPTION USING ERRCODE = 'DM002', MESSAGE = format('There is no context %s.', NEW.etl_context_id);
  END IF;
  IF NEW.meta ? 'epoch' AND ((NEW.meta ->> 'epoch')::bigint <> context.epoch OR context.status = 'ERROR') THEN
    RAISE EXCEPTION USING ERRCODE = 'DM004',
      MESSAGE = format('Context %s is run by epoch %s; epoch %s is stale and may not write.', NEW.etl_context_id, context.epoch, NEW.meta ->> 'epoch');
  END IF;
  IF NEW.version <> context.version + 1 THEN
    RAISE EXCEPTION USING ERRCODE = 'DM005',
      MESSAGE = format('Context %s is at version %s, so its next event is not number %s.', NEW.etl_context_id, context.version, NEW.version),
      HINT = 'Leave the version out: it is given here.';
  END IF;
  refusal := _data_manager_admin.life_cycle_refusal(
    NEW.etl_context_id, context.version, context.status, NEW.type);
  IF refusal IS NOT NULL THEN
    RAISE EXCEPTION USING ERRCODE = 'DM006', MESSAGE = refusal;
  END IF;

  NEW.version := context.version + 1;
  UPDATE _data_manager_admin.etl_context c
    SET version = NEW.version, status = _data_manager_admin.status_after(NEW.type),
        latest_event_id = NEW.event_id, initial_event_id = coalesce(c.initial_event_id, NEW.event_id),
        modified_at = clock_timestamp()
    WHERE c.context_id = NEW.etl_context_id;
  IF _data_manager_admin.status_after(NEW.type) <> 'OPEN' THEN
    PERFORM _data_manager_admin.settle_runs(
      ARRAY[NEW.etl_context_id],
      CASE _data_manager_admin.status_after(NEW.type) WHEN 'DONE' THEN '{}' ELSE ARRAY[NEW.etl_context_id] END);
  ELSE
    UPDATE _data_manager_admin.run_queue q SET state = 'queued', due_at = NULL
      WHERE q.context_id = NEW.etl_context_id AND q.state = 'waiting' AND NEW.type = ANY (q.wake_types);
  END IF;
  RETURN NEW;
END
$$;

CREATE OR REPLACE TRIGGER event_admission BEFORE INSERT ON _data_manager_admin.event_store_prototype
  FOR EACH ROW WHEN (NEW.version IS NULL OR current_setting('dama.appending', TRUE) IS DISTINCT FROM 'on')
  EXECUTE FUNCTION _data_manager_admin.admit_event();

CREATE OR REPLACE FUNCTION _data_manager_admin.place_context() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  NEW.root_context_id := coalesce(
    (SELECT p.root_context_id FROM _data_manager_admin.etl_context p WHERE p.context_id = NEW.parent_id),
    NEW.context_id);
  RETURN NEW;
END
$$;

CREATE OR REPLACE TRIGGER context_place BEFORE INSERT ON _data_manager_admin.etl_context
  FOR EACH ROW WHEN (NEW.root_context_id IS NULL) EXECUTE FUNCTION _data_manager_admin.place_context();

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

CREATE OR REPLACE TRIGGER event_history_is_immutable
  BEFORE UPDATE OR DELETE OR TRUNCATE ON _data_manager_admin.event_store_prototype
  FOR EACH STATEMENT EXECUTE FUNCTION _data_manager_admin.refuse_rewriting();

CREATE OR REPLACE TRIGGER contexts_are_kept
  BEFORE DELETE OR TRUNCATE OR UPDATE OF context_id, parent_id, root_context_id
  ON _data_manager_admin.etl_context
  FOR EACH STATEMENT EXECUTE FUNCTION _data_manager_admin.refuse_rewriting();

-- What a context is follows from its events; these columns are no column of an old program.
CREATE OR REPLACE TRIGGER contexts_follow_their_events
  BEFORE UPDATE OF status, version, epoch, initial_event_id, latest_event_id
  ON _data_manager_admin.etl_context
  FOR EACH STATEMENT WHEN (current_setting('dama.appending', TRUE) IS DISTINCT FROM 'on')
  EXECUTE FUNCTION _data_manager_admin.refuse_rewriting();

CREATE OR REPLACE TRIGGER positions_are_kept
  BEFORE UPDATE OR DELETE OR TRUNCATE ON _data_manager_admin.event_log
  FOR EACH STATEMENT EXECUTE FUNCTION _data_manager_admin.refuse_rewriting();
