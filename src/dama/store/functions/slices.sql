-- slices: those that are kept as tables, each by a durable subscription (subscriptions.sql).

-- slice_subscription: the name of the subscription that keeps a build.
CREATE OR REPLACE FUNCTION _data_manager_admin.slice_subscription(slice text, build bigint) RETURNS text
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$ SELECT format('slice %s (%s)', slice, build) $$;

-- begin_slice: the build of a slice to work on, with its subscription: the one that is to be shown, or the one that is.
-- In:    wanted int: the version of the slice; again: a new one, unless one of this version is being made
-- Out:   none when the slice is shown in another version, and not wanted again
-- Locks: the archive, where a build is begun: all that is archived before is committed, and what is archived later waits
--        for the subscription; the row that somebody else inserts at the same time is waited for
CREATE OR REPLACE FUNCTION _data_manager_admin.begin_slice(slice text, wanted int, again boolean)
RETURNS TABLE (build bigint, subscription text, archived_after bigint)
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
  known  _data_manager_admin.slice_build;
BEGIN
  PERFORM _data_manager_admin.leave_slice(b.build) FROM _data_manager_admin.slice_build b
    WHERE again AND b.slice = begin_slice.slice AND b.state = 'building' AND b.slice_version <> wanted;
  IF again OR NOT EXISTS (SELECT FROM _data_manager_admin.slice_build b WHERE b.slice = begin_slice.slice AND b.state <> 'dropped') THEN
    PERFORM _data_manager_admin.lock_archive();
    -- Nothing is inserted where one is being made, or somebody else makes it at the same time.
    INSERT INTO _data_manager_admin.slice_build AS n (slice, slice_version, state)
      VALUES (begin_slice.slice, wanted, CASE WHEN EXISTS (
        SELECT FROM _data_manager_admin.slice_build b WHERE b.slice = begin_slice.slice AND b.state = 'shown')
        THEN 'building' ELSE 'shown' END)
      ON CONFLICT DO NOTHING RETURNING n.* INTO known;
    IF known.build IS NOT NULL THEN
      PERFORM _data_manager_admin.create_subscription(_data_manager_admin.slice_subscription(begin_slice.slice, known.build), 1, 0);
    END IF;
  END IF;
  RETURN QUERY SELECT b.build, _data_manager_admin.slice_subscription(b.slice, b.build), b.archived_after
    FROM _data_manager_admin.slice_build b
    WHERE b.slice = begin_slice.slice AND b.slice_version = wanted AND b.state <> 'dropped'
    ORDER BY b.state LIMIT 1;  -- building first
END
$$;

-- keep_archived: the states that a build has of some archived contexts, and those of them with an event that cannot be
-- folded, which are parked. Nothing is kept of what was removed meanwhile, nor of what was brought back: that is in the log.
-- In:    rows: a JSON array of context_id, version, event_id, and the state as a JSON text
--        failed: a JSON array of context_id, the id of the event, and the error as a JSON text
-- Locks: the trees, shared: whoever brings one back or removes it for good is waited for; the rows
CREATE OR REPLACE FUNCTION _data_manager_admin.keep_archived(which bigint, rows json, failed json) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  ids     bigint[] := ARRAY(SELECT (r ->> 0)::bigint FROM json_array_elements(rows) r
                            UNION SELECT (f ->> 0)::bigint FROM json_array_elements(failed) f);
  number  int;
BEGIN
  FOR number IN
    SELECT DISTINCT hashint8(a.root_context_id) FROM _data_manager_admin.archived_context a
      WHERE a.context_id = ANY (ids) ORDER BY 1
  LOOP
    PERFORM pg_advisory_xact_lock_shared(1953653093, number);  -- "tree"
  END LOOP;
  ids := ARRAY(SELECT a.context_id FROM _data_manager_admin.archived_context a WHERE a.context_id = ANY (ids));
  INSERT INTO _data_manager_admin.slice_row AS k (build, context_id, version, event_id, folded)
  SELECT which, (r ->> 0)::bigint, (r ->> 1)::bigint, (r ->> 2)::bigint, r ->> 3
    FROM json_array_elements(rows) r WHERE (r ->> 0)::bigint = ANY (ids) ORDER BY 2
  ON CONFLICT (build, context_id) DO UPDATE
    SET version = excluded.version, event_id = excluded.event_id, folded = excluded.folded
    WHERE k.version < excluded.version;
  INSERT INTO _data_manager_admin.subscription_parked (name, context_id, lane, position, error)
  SELECT s.name, (f ->> 0)::bigint, 0, l.position, (f ->> 2)::jsonb
    FROM json_array_elements(failed) f
    JOIN _data_manager_admin.slice_build b ON b.build = which
    JOIN _data_manager_admin.subscription s ON s.name = _data_manager_admin.slice_subscription(b.slice, b.build)
    JOIN _data_manager_admin.event_log l ON l.event_id = (f ->> 1)::bigint
    WHERE (f ->> 0)::bigint = ANY (ids) ORDER BY 2
  ON CONFLICT DO NOTHING;
END
$$;

-- leave_slice: nobody keeps a build any longer; its rows are removed by remove_slice_rows().
-- Locks: the lane of its subscription: who handles a batch of it is waited for
CREATE OR REPLACE FUNCTION _data_manager_admin.leave_slice(which bigint) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  reader text := (SELECT _data_manager_admin.slice_subscription(b.slice, b.build) FROM _data_manager_admin.slice_build b WHERE b.build = which);
BEGIN
  DELETE FROM _data_manager_admin.subscription_lane WHERE name = reader;
  DELETE FROM _data_manager_admin.subscription_parked WHERE name = reader;
  DELETE FROM _data_manager_admin.subscription WHERE name = reader;
  UPDATE _data_manager_admin.slice_build SET state = 'dropped' WHERE build = which;
END
$$;

-- show_slice: a build that has caught up takes the place of the one that is shown.
CREATE OR REPLACE FUNCTION _data_manager_admin.show_slice(which bigint) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  PERFORM _data_manager_admin.leave_slice(o.build)
    FROM _data_manager_admin.slice_build b JOIN _data_manager_admin.slice_build o USING (slice)
    WHERE b.build = which AND b.state = 'building' AND o.state = 'shown';
  UPDATE _data_manager_admin.slice_build SET state = 'shown' WHERE build = which AND state = 'building';
END
$$;

-- drop_slice: keep a slice no longer; returns how many builds it had.
CREATE OR REPLACE FUNCTION _data_manager_admin.drop_slice(slice text) RETURNS bigint
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  builds bigint[] := ARRAY(SELECT b.build FROM _data_manager_admin.slice_build b
                             WHERE b.slice = drop_slice.slice AND b.state <> 'dropped' FOR UPDATE);
BEGIN
  PERFORM _data_manager_admin.leave_slice(b) FROM unnest(builds) b;
  RETURN cardinality(builds);
END
$$;

-- remove_slice_rows: some rows of builds that nobody keeps, then the builds; returns how many rows.
-- Locks: SKIP LOCKED
CREATE OR REPLACE FUNCTION _data_manager_admin.remove_slice_rows(demand int) RETURNS bigint
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  left_over  bigint := (SELECT b.build FROM _data_manager_admin.slice_build b WHERE b.state = 'dropped'
                          ORDER BY b.build LIMIT 1 FOR UPDATE SKIP LOCKED);
  removed    bigint;
BEGIN
  DELETE FROM _data_manager_admin.slice_row r USING (
    SELECT s.context_id FROM _data_manager_admin.slice_row s WHERE s.build = left_over ORDER BY s.context_id LIMIT demand) d
    WHERE r.build = left_over AND r.context_id = d.context_id;
  GET DIAGNOSTICS removed = ROW_COUNT;
  IF removed < demand THEN
    DELETE FROM _data_manager_admin.slice_build b WHERE b.build = left_over;
  END IF;
  RETURN removed;
END
$$;
