-- subscriptions: readers of the log whose checkpoints are kept here.

-- poll_log: sequence, then tell how far the log is and which subscriptions have work to do: the one
-- query of a process that waits.
CREATE OR REPLACE FUNCTION _data_manager_admin.poll_log()
RETURNS TABLE (last_position bigint, behind text[])
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  head bigint := _data_manager_admin.sequence_log();
BEGIN
  RETURN QUERY SELECT head, ARRAY(
    SELECT t.name FROM _data_manager_admin.subscription_lane t WHERE t.position < head
    UNION
    SELECT p.name FROM _data_manager_admin.subscription_parked p WHERE p.resumed_at IS NOT NULL);
END
$$;

-- create_subscription: make a subscription known, unless it is; returns the number of its lanes.
CREATE OR REPLACE FUNCTION _data_manager_admin.create_subscription(
  subscription text, lanes int, after bigint) RETURNS int
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  INSERT INTO _data_manager_admin.subscription (name, lanes)
    VALUES (subscription, create_subscription.lanes) ON CONFLICT DO NOTHING;
  IF FOUND THEN
    INSERT INTO _data_manager_admin.subscription_lane (name, lane, position)
      SELECT subscription, n, after FROM generate_series(0, create_subscription.lanes - 1) n;
  END IF;
  RETURN (SELECT s.lanes FROM _data_manager_admin.subscription s WHERE s.name = subscription);
END
$$;

-- drop_subscription: forget a subscription that nobody reads. A program that still ran would hear of nothing any more, and
-- begin once more when it is started again.
-- Locks: its lanes: who handles a batch of one is waited for
CREATE OR REPLACE FUNCTION _data_manager_admin.drop_subscription(subscription text)
RETURNS TABLE (said text, last_position bigint, parked bigint)
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  PERFORM FROM _data_manager_admin.subscription s WHERE s.name = subscription FOR UPDATE;
  said := CASE
    WHEN NOT FOUND THEN 'unknown'
    WHEN EXISTS (SELECT FROM _data_manager_admin.slice_build b WHERE b.state <> 'dropped'
                   AND _data_manager_admin.slice_subscription(b.slice, b.build) = subscription) THEN 'slice'
    -- As Subscription names its connections; the server cuts names off, by bytes.
    WHEN EXISTS (SELECT FROM pg_stat_activity a WHERE a.datname = current_database()
                   AND a.application_name = ('dama log ' || subscription)::name::text) THEN 'read'
    ELSE 'dropped' END;
  IF said = 'dropped' THEN
    WITH lanes AS (DELETE FROM _data_manager_admin.subscription_lane l WHERE l.name = subscription RETURNING l.position)
      SELECT min(l.position) INTO last_position FROM lanes l;
    DELETE FROM _data_manager_admin.subscription_parked p WHERE p.name = subscription;
    GET DIAGNOSTICS parked = ROW_COUNT;
    DELETE FROM _data_manager_admin.subscription s WHERE s.name = subscription;
  END IF;
  RETURN NEXT;
END
$$;
