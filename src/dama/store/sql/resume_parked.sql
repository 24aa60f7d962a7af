-- resume_parked: let a parked context continue, with the event that failed or after it.
-- In:    name text; context_id bigint; skip boolean: leave the event out
--        act text: the event of the act as JSON, or NULL
-- Out:   position of the event that failed; none when the context is not parked
-- Locks: its row
WITH parked AS (
  SELECT p.name, p.context_id, p.position FROM _data_manager_admin.subscription_parked p
    WHERE p.name = %(name)s::text AND p.context_id = %(context_id)s::bigint FOR UPDATE)
UPDATE _data_manager_admin.subscription_parked p
  SET resumed_at = clock_timestamp(),
      position = k.position + CASE WHEN %(skip)s::boolean AND p.resumed_at IS NULL THEN 1 ELSE 0 END
  FROM parked k WHERE p.name = k.name AND p.context_id = k.context_id
  RETURNING k.position, _data_manager_admin.keep_act(%(act)s::text::jsonb)
