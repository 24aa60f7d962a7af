-- park_run: a run waits without a worker, for subtasks, a time or a signal.
--
-- Both rows are locked before anybody looks: a subtask that ends meanwhile, or a signal that comes,
-- waits for this transaction and then finds a run that waits. All subtasks wake it, or with any_end the
-- first that ends: several parts of it wait, each for its own.
CREATE OR REPLACE FUNCTION _data_manager_admin.park_run(
  context bigint, worker bigint, awaited bigint[], on_failure boolean, until timestamptz,
  types text[], seen bigint, any_end boolean DEFAULT FALSE)
RETURNS boolean
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  unfinished int;
  failed     boolean;
  ready      boolean;
  elsewhere  boolean;
BEGIN
  PERFORM 1 FROM _data_manager_admin.etl_context c WHERE c.context_id = context FOR NO KEY UPDATE;
  PERFORM 1 FROM _data_manager_admin.run_queue q
    WHERE q.context_id = context AND q.worker_id = worker AND q.state = 'running' FOR UPDATE;
  IF NOT FOUND THEN
    RETURN FALSE;
  END IF;
  -- A context that another one started tells its own parent of its end, not this one: look again.
  SELECT count(*) FILTER (WHERE c.status = 'OPEN'),
         coalesce(bool_or(c.status IN ('ERROR', 'CANCELLED')), FALSE),
         coalesce(bool_or(c.status = 'OPEN' AND c.parent_id IS DISTINCT FROM context), FALSE)
    INTO unfinished, failed, elsewhere
    FROM _data_manager_admin.etl_context c WHERE c.context_id = ANY (awaited);
  ready := (awaited <> '{}' AND (unfinished = 0 OR (failed AND on_failure) OR (any_end AND unfinished < cardinality(awaited))))
    OR coalesce(until <= clock_timestamp(), FALSE)
    OR EXISTS (SELECT FROM _data_manager_admin.event_store_prototype e
                 WHERE e.etl_context_id = context AND e.version > seen AND e.type = ANY (types));
  UPDATE _data_manager_admin.run_queue q
    SET worker_id = NULL, pending = CASE WHEN any_end THEN least(unfinished, 1) ELSE unfinished END, wake_on_failure = on_failure, attempt = q.attempt - 1,
        deaths = 0, deaths_alone = 0,
        host = NULL, program_epoch = NULL, wake_types = types,
        awaited = CASE WHEN until IS NULL AND types = '{}' THEN nullif(park_run.awaited, '{}') END,
        due_at = CASE WHEN ready THEN NULL
                      WHEN elsewhere THEN least(until, clock_timestamp() + interval '1 minute')
                      ELSE until END,
        state = CASE WHEN ready THEN 'queued' ELSE 'waiting' END
    WHERE q.context_id = context;
  RETURN TRUE;
END
$$;
