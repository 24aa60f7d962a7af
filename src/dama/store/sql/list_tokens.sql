-- list_tokens: all tokens, the newest first.
-- In:    nothing
-- Out:   token_id, name, scope, services, created_at, created_by, expires_at, revoked_at
-- Locks: none
SELECT token_id, name, scope, services, created_at, created_by, expires_at, revoked_at
  FROM _data_manager_admin.token
  ORDER BY created_at DESC, token_id
