-- sequence_log: give every event that was committed since the last call its position in the log.
--
-- In:    nothing. A transaction of its own, READ COMMITTED
-- Out:   the last position. While another session sequences, or in a read-only transaction: the
--        last one that is visible
-- Locks: a transaction-level advisory lock, tried and never waited for
--
-- What is new is what is visible now and was not in the last snapshot: transactions that began
-- after it (xid >= its xmax) and those that were in progress in it (its xip). Nobody waits for a
-- transaction that is open; it is found when it has committed, whenever that is.
-- - Every statement of the function sees a newer snapshot than the one before, so what the last
--   holder of the lock committed is seen. Rows and pg_current_snapshot() of one statement agree.
-- - Order: by event_id, but never against the versions of a context: an event that was inserted
--   directly has drawn its id before it waited for the context.
-- - After a restore the events carry the xids of another cluster, which this one has yet to reach.
--   None is taken for new: what is visible is below the current xmax, and what has a position is
--   left out.
CREATE OR REPLACE FUNCTION _data_manager_admin.sequence_log() RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET jit = off
SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off SET enable_bitmapscan = off
AS $$
DECLARE
  state  record;
  here   bigint;
  placed bigint;
BEGIN
  IF pg_current_xact_id_if_assigned() IS NOT NULL
     OR current_setting('transaction_isolation') <> 'read committed' THEN
    RAISE EXCEPTION USING ERRCODE = 'active_sql_transaction',
      MESSAGE = 'sequence_log() needs a READ COMMITTED transaction of its own, which has written nothing.';
  END IF;
  IF current_setting('transaction_read_only') = 'on'
     OR NOT pg_try_advisory_xact_lock(1684106593, 3) THEN  -- "dama", the log
    RETURN (SELECT s.position FROM _data_manager_admin.event_log_state s ORDER BY s.position DESC LIMIT 1);
  END IF;

  SELECT s.* INTO STRICT state
    FROM _data_manager_admin.event_log_state s ORDER BY s.position DESC LIMIT 1;
  SELECT c.system_identifier INTO here FROM pg_control_system() c;
  IF state.system_identifier <> here
     OR pg_snapshot_xmax(state.snapshot) > pg_snapshot_xmax(pg_current_snapshot()) THEN
    RETURN _data_manager_admin.sequence_left_overs(here);
  END IF;

  -- EXECUTE: planned for this snapshot. A plan for any snapshot reads the whole table.
  EXECUTE $sql$
    WITH fresh AS (
      SELECT e.event_id, e.etl_context_id, e.version
        FROM _data_manager_admin.event_store_prototype e
        WHERE e.xid >= pg_snapshot_xmax($1) AND e.xid < pg_snapshot_xmax(pg_current_snapshot())
      UNION ALL
      SELECT e.event_id, e.etl_context_id, e.version
        FROM pg_snapshot_xip($1) x JOIN _data_manager_admin.event_store_prototype e ON e.xid = x),
    ranked AS (
      SELECT f.event_id, f.version,
             max(f.event_id) OVER (PARTITION BY f.etl_context_id ORDER BY f.version) AS rank
        FROM fresh f
        WHERE NOT EXISTS (SELECT FROM _data_manager_admin.event_log l WHERE l.event_id = f.event_id)),
    logged AS (
      INSERT INTO _data_manager_admin.event_log (position, event_id)
      SELECT $2 + row_number() OVER (ORDER BY r.rank, r.version), r.event_id FROM ranked r
      RETURNING position),
    next AS (
      INSERT INTO _data_manager_admin.event_log_state
      SELECT max(l.position), pg_current_snapshot(), $3 FROM logged l HAVING count(*) > 0
      RETURNING position),
    -- Events of a former cluster were met, and nothing new: not to meet them again.
    passed AS (
      UPDATE _data_manager_admin.event_log_state s SET snapshot = pg_current_snapshot()
        WHERE s.position = $2 AND EXISTS (SELECT FROM fresh) AND NOT EXISTS (SELECT FROM next)),
    former AS (
      DELETE FROM _data_manager_admin.event_log_state s
        WHERE s.position = $2 AND EXISTS (SELECT FROM next))
    SELECT n.position FROM next n
  $sql$ INTO placed USING state.snapshot, state.position, here;
  RETURN coalesce(placed, state.position);
END
$$;

COMMENT ON FUNCTION _data_manager_admin.sequence_log() IS
  'Give newly committed events their positions in the log; returns the last position. Call it before reading the log.';

-- sequence_left_overs: place all events that have no position, and begin with a new snapshot. For
-- a database that was restored or cloned into another cluster, and for a log that is new.
-- Called by sequence_log() under its lock. Positions that were given stay.
CREATE OR REPLACE FUNCTION _data_manager_admin.sequence_left_overs(here bigint) RETURNS bigint
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
SET enable_seqscan = on SET enable_hashjoin = on SET enable_mergejoin = on SET enable_bitmapscan = on
AS $$
DECLARE
  last   bigint := coalesce((SELECT max(s.position) FROM _data_manager_admin.event_log_state s), 0);
  placed bigint;
BEGIN
  WITH ranked AS (
    SELECT e.event_id, e.version,
           max(e.event_id) OVER (PARTITION BY e.etl_context_id ORDER BY e.version) AS rank
      FROM _data_manager_admin.event_store_prototype e
      WHERE NOT EXISTS (SELECT FROM _data_manager_admin.event_log l WHERE l.event_id = e.event_id)),
  logged AS (
    INSERT INTO _data_manager_admin.event_log (position, event_id)
    SELECT last + row_number() OVER (ORDER BY r.rank, r.version), r.event_id FROM ranked r
    RETURNING position)
  UPDATE _data_manager_admin.event_log_state s
    SET position = s.position + n.count, snapshot = pg_current_snapshot(), system_identifier = here
    FROM (SELECT count(*) FROM logged) n
    RETURNING s.position INTO placed;
  RETURN placed;
END
$$;

REVOKE ALL ON FUNCTION _data_manager_admin.sequence_left_overs(bigint) FROM PUBLIC;
