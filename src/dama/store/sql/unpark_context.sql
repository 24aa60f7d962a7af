-- unpark_context: a resumed context has caught up with its lane.
-- In:    name text; context_id bigint
-- Out:   nothing
-- Locks: its row; the caller holds the lane
DELETE FROM _data_manager_admin.subscription_parked
  WHERE name = %(name)s::text AND context_id = %(context_id)s::bigint
