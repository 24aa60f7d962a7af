-- read_token: the token that a request shows, as long as it is good.
-- In:    token_id text
-- Out:   name, digest, scope, services; no row when there is none, or it was revoked or has expired
-- Locks: none
SELECT name, digest, scope, services
  FROM _data_manager_admin.token
  WHERE token_id = %(token_id)s AND revoked_at IS NULL
    AND (expires_at IS NULL OR expires_at > clock_timestamp())
