-- runs: what happens to the run queue when contexts end.

-- start_clean_ups: contexts have failed or were cancelled; what their tasks have for that end is started.
-- It is named in the meta of the INITIAL, has a tree of its own and the same params, and its key is that of
-- the end, so it is started once for each: in the transaction that writes it, whoever does.
-- One that cannot be started, whatever an old INITIAL says of it, keeps neither its context from ending nor
-- the others from being started.
CREATE OR REPLACE FUNCTION _data_manager_admin.start_clean_ups(contexts bigint[]) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  batch  jsonb;
  item   jsonb;
BEGIN
  batch := (
    SELECT jsonb_agg(jsonb_build_object(
             'task', u.task, 'queue', u.queue,
             'idempotency_key', format('%s/%s/%s', u.kind, u.context_id, u.latest_event_id),
             'event', jsonb_build_object('type', u.task || ':INITIAL', 'payload', u.payload,
               'meta', jsonb_strip_nulls(jsonb_build_object('queue', u.queue, 'cleans_up', u.context_id, 'defaults', u.defaults)))))
      FROM (
        SELECT c.context_id, c.latest_event_id, k.kind, e.payload, e.meta -> 'defaults' AS defaults,
               e.meta -> k.kind ->> 'task' AS task, coalesce(e.meta -> k.kind ->> 'queue', 'default') AS queue
          FROM _data_manager_admin.etl_context c
          JOIN _data_manager_admin.event_store_prototype e ON e.event_id = c.initial_event_id
          CROSS JOIN LATERAL (SELECT CASE c.status WHEN 'ERROR' THEN 'on_failure' WHEN 'CANCELLED' THEN 'on_cancel' END AS kind) k
          WHERE c.context_id = ANY (contexts)) u
      WHERE u.task <> '');
  IF batch IS NULL THEN
    RETURN;
  END IF;
  BEGIN
    PERFORM _data_manager_admin.start_contexts(batch);
    RETURN;
  EXCEPTION WHEN SQLSTATE 'DM001' OR SQLSTATE 'DM003' THEN
    RAISE WARNING 'dama: clean-ups are started one by one: %', SQLERRM;
  END;
  FOR item IN SELECT jsonb_array_elements(batch) LOOP
    BEGIN
      PERFORM _data_manager_admin.start_contexts(jsonb_build_array(item));
    EXCEPTION WHEN SQLSTATE 'DM001' OR SQLSTATE 'DM003' THEN
      RAISE WARNING 'dama: the clean-up % was not started: %', item ->> 'idempotency_key', SQLERRM;
    END;
  END LOOP;
END
$$;

-- settle_runs: contexts ended. Their runs leave the queue and make room for others with their key; a
-- parent that waits is told.
-- Locks: keys, then rows of run_queue, after the locks of the contexts: their own and those of their parents
-- in one order, for a parent may end in another transaction meanwhile. The row of a parent is locked even
-- when it does not wait: were it about to, it would miss this end.
-- In:    ended; failed: those of them that may be resumed. Whoever has claimed their runs may not have
--        started them yet; a run that is resumed must not get such an epoch once more.
CREATE OR REPLACE FUNCTION _data_manager_admin.settle_runs(ended bigint[], failed bigint[] DEFAULT '{}')
RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  parents bigint[];
  keys    text[];
  flag    text;
BEGIN
  keys := ARRAY(SELECT DISTINCT q.limit_key FROM _data_manager_admin.run_queue q
                  WHERE q.context_id = ANY (ended) AND q.limit_key IS NOT NULL);
  IF keys <> '{}' THEN
    PERFORM _data_manager_admin.lock_keys(keys);
  END IF;
  parents := ARRAY(
    SELECT DISTINCT c.parent_id FROM _data_manager_admin.etl_context c
      WHERE c.context_id = ANY (ended) AND c.parent_id IS NOT NULL);
  IF parents <> '{}' OR failed <> '{}' THEN
    PERFORM 1 FROM _data_manager_admin.run_queue q
      WHERE q.context_id = ANY (ended || parents) ORDER BY q.context_id FOR UPDATE;
  END IF;
  IF failed <> '{}' THEN
    flag := set_config('dama.appending', 'by its rules', TRUE);
    UPDATE _data_manager_admin.etl_context c SET epoch = q.epoch
      FROM _data_manager_admin.run_queue q
      WHERE q.context_id = ANY (failed) AND c.context_id = q.context_id AND c.epoch < q.epoch;
    flag := set_config('dama.appending', '', TRUE);
  END IF;
  DELETE FROM _data_manager_admin.run_queue q
    WHERE q.context_id = ANY (ARRAY(SELECT unnest(ended) ORDER BY 1));
  IF keys <> '{}' THEN
    PERFORM _data_manager_admin.admit_blocked(keys);
  END IF;
  IF failed <> '{}' THEN
    PERFORM _data_manager_admin.start_clean_ups(failed);
  END IF;
  IF parents = '{}' THEN
    RETURN;
  END IF;
  UPDATE _data_manager_admin.run_queue q
    SET pending = q.pending - u.ended,
        state = CASE WHEN q.pending <= u.ended OR (u.failed AND q.wake_on_failure) THEN 'queued' ELSE 'waiting' END,
        due_at = CASE WHEN q.pending <= u.ended OR (u.failed AND q.wake_on_failure) THEN NULL ELSE q.due_at END
    FROM (SELECT c.parent_id, count(*) AS ended, bool_or(c.status <> 'DONE') AS failed
            FROM _data_manager_admin.etl_context c WHERE c.context_id = ANY (ended)
            GROUP BY c.parent_id) u
    WHERE q.context_id = u.parent_id AND q.state = 'waiting' AND q.pending > 0;
END
$$;
