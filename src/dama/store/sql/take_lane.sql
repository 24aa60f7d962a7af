-- take_lane: a lane with something to handle, for this transaction; the one that is most behind.
-- In:    name text
-- Out:   lane, position; resumed boolean: a parked context is to continue. None when nothing is free
-- Locks: the row of the lane, SKIP LOCKED, so members of a group never wait for each other
SELECT t.lane, t.position,
       EXISTS (SELECT FROM _data_manager_admin.subscription_parked p
                 WHERE p.name = t.name AND p.lane = t.lane AND p.resumed_at IS NOT NULL)
  FROM _data_manager_admin.subscription_lane t
  WHERE t.name = %(name)s::text
    AND (t.position < (SELECT s.position FROM _data_manager_admin.event_log_state s
                         ORDER BY s.position DESC LIMIT 1)
         OR EXISTS (SELECT FROM _data_manager_admin.subscription_parked p
                      WHERE p.name = t.name AND p.lane = t.lane AND p.resumed_at IS NOT NULL))
  ORDER BY t.position LIMIT 1
  FOR NO KEY UPDATE OF t SKIP LOCKED
