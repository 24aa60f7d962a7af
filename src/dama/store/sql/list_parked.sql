-- list_parked: contexts whose event a subscription could not handle, the newest first.
-- In:    limit int
-- Out:   name, context_id, position (of the event), error text (JSON), parked_at, resumed_at
-- Locks: none
SELECT name, context_id, position, error::text, parked_at, resumed_at
  FROM _data_manager_admin.subscription_parked
  ORDER BY parked_at DESC LIMIT %(limit)s::int
