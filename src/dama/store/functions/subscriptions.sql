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
