-- revoke_token: a token is good no more.
-- In:    name text
--        act text: the event of the act as JSON, or NULL
-- Out:   its token_id; no row when no unrevoked one has this name
-- Locks: the row
UPDATE _data_manager_admin.token SET revoked_at = clock_timestamp()
  WHERE name = %(name)s AND revoked_at IS NULL
  RETURNING token_id, _data_manager_admin.keep_act(%(act)s::text::jsonb)
