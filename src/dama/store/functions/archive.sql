-- archive: closed trees leave the tables that are worked with, whole, and come back whole.
-- Only the owner of the tables may: history leaves them. Positions in the log stay what they are.

-- closed_trees: roots that can be archived: they and all below them have ended for longer than an age.
-- In:    age; failed: also roots that failed, which could still be resumed; after: roots behind this
--        context; demand: how many. 20,000 roots are looked at, at most
-- By index from root to root: a plan for all of them would look at each again for every batch.
-- A tree stays while the log has not placed all of it, or a durable subscription not handled it: call
-- sequence_log() first. The latest event of a context has its position after all others.
CREATE OR REPLACE FUNCTION _data_manager_admin.closed_trees(
  age interval, failed boolean, after bigint, demand int)
RETURNS SETOF bigint
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off SET enable_bitmapscan = off
AS $$
  WITH handled AS (SELECT min(l.position) AS position FROM _data_manager_admin.subscription_lane l)
  SELECT c.context_id
    FROM (SELECT r.context_id, r.status, r.modified_at FROM _data_manager_admin.etl_context r
            WHERE r.context_id > after AND r.parent_id IS NULL ORDER BY r.context_id LIMIT 20000) c CROSS JOIN handled h
    WHERE (c.status IN ('DONE', 'CANCELLED') OR (failed AND c.status = 'ERROR'))
      AND c.modified_at < clock_timestamp() - age
      AND NOT EXISTS (
        SELECT FROM _data_manager_admin.etl_context d
          LEFT JOIN _data_manager_admin.event_log l ON l.event_id = d.latest_event_id
          WHERE d.root_context_id = c.context_id
            AND (coalesce(d.status, 'OPEN') = 'OPEN' OR d.modified_at >= clock_timestamp() - age
                 OR l.position IS NULL OR l.position > h.position
                 OR EXISTS (SELECT FROM _data_manager_admin.subscription_parked p WHERE p.context_id = d.context_id)))
    ORDER BY c.context_id LIMIT demand
$$;

-- roots_behind: the last of the roots that closed_trees() looks at behind a context; NULL at the end.
CREATE OR REPLACE FUNCTION _data_manager_admin.roots_behind(after bigint) RETURNS bigint
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp SET enable_seqscan = off SET enable_bitmapscan = off
AS $$
  SELECT r.context_id FROM _data_manager_admin.etl_context r
    WHERE r.context_id > after AND r.parent_id IS NULL ORDER BY r.context_id OFFSET 19999 LIMIT 1
$$;

-- archive_trees: move some closed trees.
-- Out:   how many contexts and events were moved; last: after which to continue, NULL at the end
-- Locks: the archive, shared; the rows of the contexts
CREATE OR REPLACE FUNCTION _data_manager_admin.archive_trees(
  age interval, failed boolean, after bigint, demand int)
RETURNS TABLE (contexts bigint, events bigint, last bigint)
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  before   text := coalesce(current_setting('dama.rewrite_history', TRUE), '');
  flag     text := set_config('dama.rewrite_history', 'on', TRUE);
  roots  bigint[];
  ids    bigint[];
BEGIN
  PERFORM _data_manager_admin.share_archive();
  roots := ARRAY(SELECT _data_manager_admin.closed_trees(age, failed, after, demand));
  last := (SELECT max(r) FROM unnest(roots) r);
  IF cardinality(roots) < demand THEN  -- all that it looks at was looked at
    last := coalesce(_data_manager_admin.roots_behind(after), last);
  END IF;
  -- A tree that somebody acts on or starts in is not closed: the next round looks at it again.
  roots := ARRAY(SELECT r FROM unnest(roots) r WHERE _data_manager_admin.try_lock_tree(r));
  ids := ARRAY(SELECT c.context_id FROM _data_manager_admin.etl_context c
                 WHERE c.root_context_id = ANY (roots) ORDER BY 1 FOR UPDATE SKIP LOCKED);
  -- Looked at again under the locks: one may have been resumed meanwhile, or its rows be locked.
  roots := ARRAY(SELECT r FROM unnest(roots) r WHERE NOT EXISTS (
    SELECT FROM _data_manager_admin.etl_context c
      WHERE c.root_context_id = r AND (coalesce(c.status, 'OPEN') = 'OPEN' OR c.context_id <> ALL (ids))));
  INSERT INTO _data_manager_admin.archived_context
    (context_id, parent_id, root_context_id, task, status, version, epoch, initial_event_id,
     latest_event_id, idempotency_key, created_at, modified_at)
  SELECT context_id, parent_id, root_context_id, task, status, version, epoch, initial_event_id,
         latest_event_id, idempotency_key, created_at, modified_at
    FROM _data_manager_admin.etl_context c WHERE c.root_context_id = ANY (roots);
  GET DIAGNOSTICS contexts = ROW_COUNT;
  WITH moved AS (
    DELETE FROM _data_manager_admin.event_store_prototype e
      USING _data_manager_admin.etl_context c
      WHERE c.root_context_id = ANY (roots) AND e.etl_context_id = c.context_id RETURNING e.*)
  INSERT INTO _data_manager_admin.archived_event
    (event_id, etl_context_id, type, payload, meta, error, version, created_at, xid)
  SELECT event_id, etl_context_id, type, payload, meta, error, version, created_at, xid FROM moved;
  GET DIAGNOSTICS events = ROW_COUNT;
  DELETE FROM _data_manager_admin.slice_snapshot s USING _data_manager_admin.etl_context c
    WHERE c.root_context_id = ANY (roots) AND s.context_id = c.context_id;
  DELETE FROM _data_manager_admin.slice_rung r USING _data_manager_admin.etl_context c
    WHERE c.root_context_id = ANY (roots) AND r.context_id = c.context_id;
  DELETE FROM _data_manager_admin.etl_context c WHERE c.root_context_id = ANY (roots);
  flag := set_config('dama.rewrite_history', before, TRUE);
  RETURN NEXT;
END
$$;

-- restore_tree: bring back the tree that a context is in.
-- Out:   how many contexts came back; 0 when it is not archived
-- Raises: DM003 an idempotency key of it was given to another context meanwhile
-- An event without a position counts as written now, or the log would never find it.
CREATE OR REPLACE FUNCTION _data_manager_admin.restore_tree(context bigint) RETURNS bigint
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  before      text := coalesce(current_setting('dama.rewrite_history', TRUE), '');
  flag        text := set_config('dama.rewrite_history', 'on', TRUE);
  acting      text := current_setting('role');
  root      bigint;
  restored  bigint;
  taken     record;
BEGIN
  SELECT a.root_context_id INTO root FROM _data_manager_admin.archived_context a WHERE a.context_id = context;
  PERFORM pg_advisory_xact_lock(1953653093, hashint8(root)) WHERE root IS NOT NULL;
  SELECT a.context_id AS old, c.context_id AS new, c.root_context_id AS new_root, c.idempotency_key AS key INTO taken
    FROM _data_manager_admin.archived_context a
    JOIN _data_manager_admin.etl_context c ON c.task = a.task AND c.idempotency_key = a.idempotency_key
    WHERE a.root_context_id = root AND c.idempotency_key IS NOT NULL LIMIT 1;
  IF FOUND THEN
    RAISE EXCEPTION USING ERRCODE = 'DM003',
      MESSAGE = format('Context %s cannot come back: its idempotency key %s is that of context %s now.', taken.old, taken.key, taken.new),
      HINT = format('Read it in archived_event, or restore it when the tree of context %s is archived.', taken.new_root);
  END IF;
  -- Rows as they were are inserted by the owner alone (guards.sql), who may also be a member of its role here.
  PERFORM set_config('role', (SELECT pg_get_userbyid(c.relowner) FROM pg_class c
                                WHERE c.oid = '_data_manager_admin.etl_context'::regclass), TRUE);
  WITH moved AS (
    DELETE FROM _data_manager_admin.archived_context a WHERE a.root_context_id = root RETURNING a.*)
  INSERT INTO _data_manager_admin.etl_context
    (context_id, parent_id, root_context_id, task, status, version, epoch, initial_event_id,
     latest_event_id, idempotency_key, created_at, modified_at)
  SELECT context_id, parent_id, root_context_id, task, status, version, epoch, initial_event_id,
         latest_event_id, idempotency_key, created_at, modified_at FROM moved ORDER BY context_id;
  GET DIAGNOSTICS restored = ROW_COUNT;
  WITH moved AS (
    DELETE FROM _data_manager_admin.archived_event a USING _data_manager_admin.etl_context c
      WHERE c.root_context_id = root AND a.etl_context_id = c.context_id RETURNING a.*)
  INSERT INTO _data_manager_admin.event_store_prototype
    (event_id, etl_context_id, type, payload, meta, error, version, created_at, xid)
  SELECT event_id, etl_context_id, type, payload, meta, error, version, created_at,
         CASE WHEN EXISTS (SELECT FROM _data_manager_admin.event_log l WHERE l.event_id = moved.event_id)
              THEN xid ELSE pg_current_xact_id() END
    FROM moved;
  PERFORM set_config('role', acting, TRUE);
  flag := set_config('dama.rewrite_history', before, TRUE);
  RETURN restored;
END
$$;

-- forget_roots: remove archived trees for good, which the caller has locked. Their positions in the log stay empty.
CREATE OR REPLACE FUNCTION _data_manager_admin.forget_roots(roots bigint[])
RETURNS TABLE (contexts bigint, events bigint)
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  before text := coalesce(current_setting('dama.rewrite_history', TRUE), '');
  flag   text := set_config('dama.rewrite_history', 'on', TRUE);
  ids    bigint[] := ARRAY(SELECT a.context_id FROM _data_manager_admin.archived_context a
                             WHERE a.root_context_id = ANY (roots) ORDER BY 1 FOR UPDATE);
BEGIN
  DELETE FROM _data_manager_admin.event_log l USING _data_manager_admin.archived_event e
    WHERE e.etl_context_id = ANY (ids) AND l.event_id = e.event_id;
  DELETE FROM _data_manager_admin.archived_event e WHERE e.etl_context_id = ANY (ids);
  GET DIAGNOSTICS events = ROW_COUNT;
  DELETE FROM _data_manager_admin.slice_row r WHERE r.context_id = ANY (ids);
  DELETE FROM _data_manager_admin.subscription_parked p WHERE p.context_id = ANY (ids);
  DELETE FROM _data_manager_admin.fork f WHERE f.context_id = ANY (ids);
  DELETE FROM _data_manager_admin.imported i WHERE i.context_id = ANY (ids);
  DELETE FROM _data_manager_admin.archived_context a WHERE a.context_id = ANY (ids);
  GET DIAGNOSTICS contexts = ROW_COUNT;
  flag := set_config('dama.rewrite_history', before, TRUE);
  RETURN NEXT;
END
$$;

-- forget_trees: remove trees for good that were archived for longer than an age.
-- Out:   how many contexts and events were removed
CREATE OR REPLACE FUNCTION _data_manager_admin.forget_trees(age interval, demand int)
RETURNS TABLE (contexts bigint, events bigint)
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  roots bigint[];
BEGIN
  roots := ARRAY(SELECT r.context_id FROM _data_manager_admin.archived_context r
                   WHERE r.context_id = r.root_context_id AND r.archived_at < clock_timestamp() - age
                   ORDER BY r.archived_at LIMIT demand);
  -- One that is being restored at this moment stays.
  roots := ARRAY(SELECT r FROM unnest(roots) r WHERE _data_manager_admin.try_lock_tree(r));
  RETURN QUERY SELECT * FROM _data_manager_admin.forget_roots(roots);
END
$$;

-- forget_exported: remove an archived tree that stands in a file.
-- In:    root; exported: how many contexts and events the file has: of one that changed meanwhile nothing is removed
-- Out:   whether it was removed
CREATE OR REPLACE FUNCTION _data_manager_admin.forget_exported(root bigint, exported_contexts bigint, exported_events bigint)
RETURNS boolean
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  IF NOT _data_manager_admin.try_lock_tree(root)
     OR NOT (SELECT (count(*), coalesce(sum(a.version), 0)) = (exported_contexts, exported_events::numeric)
               FROM _data_manager_admin.archived_context a WHERE a.root_context_id = root)
  THEN
    RETURN FALSE;
  END IF;
  PERFORM _data_manager_admin.forget_roots(ARRAY[root]);
  RETURN TRUE;
END
$$;
