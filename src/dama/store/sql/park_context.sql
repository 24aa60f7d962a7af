-- park_context: an event of a context could not be handled; its later ones wait for it.
-- In:    name text; context_id bigint; lane int; position bigint; error text (JSON)
-- Out:   nothing
-- Locks: the row of the parked context; the caller holds the lane
INSERT INTO _data_manager_admin.subscription_parked AS p (name, context_id, lane, position, error)
VALUES (%(name)s::text, %(context_id)s::bigint, %(lane)s::int, %(position)s::bigint, %(error)s::text::jsonb)
ON CONFLICT (name, context_id) DO UPDATE
  SET position = excluded.position, error = excluded.error, parked_at = excluded.parked_at, resumed_at = NULL
