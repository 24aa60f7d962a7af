-- trees: reopen what failed below a context, and end what has not ended.

-- queue_resumed: contexts that a RESUMED has opened get runs, with what their INITIALs say of them.
-- Locks: their keys, then rows of run_queue
CREATE OR REPLACE FUNCTION _data_manager_admin.queue_resumed(contexts bigint[]) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  keys text[] := ARRAY(SELECT DISTINCT _data_manager_admin.name_in(e.meta, 'limit_key')
                         FROM _data_manager_admin.etl_context c
                         JOIN _data_manager_admin.event_store_prototype e ON e.event_id = c.initial_event_id
                         WHERE c.context_id = ANY (contexts) AND _data_manager_admin.name_in(e.meta, 'limit_key') IS NOT NULL);
BEGIN
  PERFORM _data_manager_admin.lock_keys(keys);
  INSERT INTO _data_manager_admin.run_queue
    (context_id, root_context_id, parent_id, task, queue, priority, epoch, state, limit_key, key_limit,
     deadline_at, labels)
  SELECT c.context_id, c.root_context_id, c.parent_id, c.task,
         coalesce(_data_manager_admin.name_in(e.meta, 'queue'), 'default'), coalesce(_data_manager_admin.number_in(e.meta, 'priority', 2147483647)::int, 0), c.epoch,
         CASE WHEN _data_manager_admin.name_in(e.meta, 'limit_key') IS NOT NULL THEN 'blocked' ELSE 'queued' END,
         _data_manager_admin.name_in(e.meta, 'limit_key'),
         CASE WHEN _data_manager_admin.name_in(e.meta, 'limit_key') IS NOT NULL THEN greatest(coalesce(_data_manager_admin.number_in(e.meta, 'key_limit', 2147483647), 1)::int, 1) END,
         clock_timestamp() + _data_manager_admin.number_in(e.meta, 'deadline', 1e10) * interval '1 second',
         ARRAY(SELECT l FROM jsonb_array_elements_text(CASE WHEN jsonb_typeof(e.meta -> 'labels') = 'array' THEN e.meta -> 'labels' ELSE '[]' END) l WHERE l IS NOT NULL)
    FROM _data_manager_admin.etl_context c
    JOIN _data_manager_admin.event_store_prototype e ON e.event_id = c.initial_event_id
    WHERE c.context_id = ANY (contexts) AND octet_length(c.task) <= 1000
  ON CONFLICT (context_id) DO NOTHING;
  PERFORM _data_manager_admin.admit_blocked(keys);
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
  PERFORM _data_manager_admin.lock_trees(ARRAY[context]);
  -- Nobody appends to what is listed now, so that it is still as it was found when it is reopened.
  PERFORM 1 FROM _data_manager_admin.etl_context c WHERE c.context_id = ANY (ARRAY(
    WITH RECURSIVE below AS (
      SELECT context AS context_id
      UNION
      SELECT c.context_id FROM _data_manager_admin.etl_context c JOIN below b ON c.parent_id = b.context_id
        WHERE c.status IN ('ERROR', 'CANCELLED'))
    SELECT b.context_id FROM below b)) ORDER BY c.context_id FOR NO KEY UPDATE;
  ids := ARRAY(
    WITH RECURSIVE failed AS (
      SELECT c.context_id FROM _data_manager_admin.etl_context c
        WHERE c.context_id = context AND (c.status IN ('ERROR', 'CANCELLED') OR (c.status = 'OPEN'
          AND NOT EXISTS (SELECT FROM _data_manager_admin.run_queue q WHERE q.context_id = context)))
      UNION
      SELECT c.context_id FROM _data_manager_admin.etl_context c JOIN failed f ON c.parent_id = f.context_id
        WHERE c.status IN ('ERROR', 'CANCELLED'))
    SELECT f.context_id FROM failed f ORDER BY 1);
  DELETE FROM _data_manager_admin.ending_tree t WHERE t.context_id = ANY (ids);
  PERFORM _data_manager_admin.append_events((
    SELECT jsonb_agg(jsonb_build_object('context_id', c.context_id, 'expected_version', c.version,
             'event', jsonb_build_object('type', coalesce(c.task, '') || ':RESUMED', 'meta', meta)))
      FROM _data_manager_admin.etl_context c WHERE c.context_id = ANY (ids)))
    WHERE ids <> '{}';
  PERFORM _data_manager_admin.queue_resumed(ids);
  RETURN QUERY SELECT * FROM unnest(ids);
END
$$;

-- append_cancelled: contexts are cancelled, and the SQL of their steps.
-- In:    contexts that are locked and have not ended; one at least
CREATE OR REPLACE FUNCTION _data_manager_admin.append_cancelled(contexts bigint[], payload jsonb, meta jsonb)
RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  PERFORM _data_manager_admin.append_events((
    SELECT jsonb_agg(jsonb_build_object('context_id', c.context_id, 'event', jsonb_build_object(
             'type', coalesce(c.task, '') || ':CANCELLED', 'payload', payload, 'meta', meta)))
      FROM _data_manager_admin.etl_context c WHERE c.context_id = ANY (contexts)));
  PERFORM _data_manager_admin.cancel_statements(contexts);
END
$$;

-- cancel_statements: the SQL that steps of some contexts execute now is ended.
CREATE OR REPLACE FUNCTION _data_manager_admin.cancel_statements(contexts bigint[]) RETURNS void
LANGUAGE sql SET search_path = pg_catalog, pg_temp AS $$
  SELECT pg_cancel_backend(a.pid) FROM pg_stat_activity a
    WHERE a.datname = current_database() AND a.application_name LIKE 'dama:%'
      AND substring(a.application_name FROM '^dama:([0-9]{1,18}):')::bigint = ANY (contexts)
$$;

-- cancel_trees: end contexts and all below them that have not ended, and the SQL of their steps.
-- Out:   the contexts that were cancelled
CREATE OR REPLACE FUNCTION _data_manager_admin.cancel_trees(contexts bigint[], payload jsonb, meta jsonb)
RETURNS TABLE (context_id bigint)
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
  ids bigint[];
BEGIN
  -- Alone with the trees: what is listed now is all there is, and none starts a subtask meanwhile.
  PERFORM _data_manager_admin.lock_trees(contexts);
  ids := ARRAY(
    WITH RECURSIVE below AS (
      SELECT c.context_id FROM _data_manager_admin.etl_context c WHERE c.context_id = ANY (contexts)
      UNION
      SELECT c.context_id FROM _data_manager_admin.etl_context c JOIN below b ON c.parent_id = b.context_id)
    SELECT b.context_id FROM below b ORDER BY 1);
  PERFORM 1 FROM _data_manager_admin.etl_context c
    WHERE c.context_id = ANY (ids) ORDER BY c.context_id FOR NO KEY UPDATE;
  ids := ARRAY(SELECT c.context_id FROM _data_manager_admin.etl_context c
                 WHERE c.context_id = ANY (ids) AND c.status IN ('OPEN', 'ERROR') ORDER BY 1);
  PERFORM _data_manager_admin.append_cancelled(ids, payload, meta) WHERE ids <> '{}';
  RETURN QUERY SELECT * FROM unnest(ids);
END
$$;
