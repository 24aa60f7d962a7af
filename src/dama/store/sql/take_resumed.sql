-- take_resumed: a parked context of a lane that an operator resumed.
-- In:    name text; lane int
-- Out:   context_id; position: of the event to begin with
-- Locks: its row; the caller holds the lane
SELECT context_id, position FROM _data_manager_admin.subscription_parked
  WHERE name = %(name)s::text AND lane = %(lane)s::int AND resumed_at IS NOT NULL
  ORDER BY resumed_at LIMIT 1 FOR UPDATE
