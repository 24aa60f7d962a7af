-- advance_parked: a resumed context was handled up to before a position.
-- In:    name text; context_id bigint; position bigint
-- Out:   nothing
-- Locks: its row
UPDATE _data_manager_admin.subscription_parked SET position = %(position)s::bigint
  WHERE name = %(name)s::text AND context_id = %(context_id)s::bigint
