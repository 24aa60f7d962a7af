-- create_subscription: make a subscription known, unless it is.
-- In:    name text; lanes int; after bigint: where it begins
-- Out:   one row: how many lanes it has
-- Locks: none
SELECT _data_manager_admin.create_subscription(%(name)s::text, %(lanes)s::int, %(after)s::bigint)
