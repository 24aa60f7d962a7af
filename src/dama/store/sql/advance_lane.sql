-- advance_lane: all up to a position is handled or parked.
-- In:    name text; lane int; position bigint
-- Out:   nothing
-- Locks: the row of the lane, which the caller holds
UPDATE _data_manager_admin.subscription_lane
  SET position = %(position)s::bigint, modified_at = clock_timestamp()
  WHERE name = %(name)s::text AND lane = %(lane)s::int
