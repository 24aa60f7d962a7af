-- add_token: a new token.
-- In:    token_id, name text; digest bytea; scope text; services text[] or NULL; created_by text;
--        lifetime double: seconds, NULL for no end
--        act text: the event of the act as JSON, or NULL
-- Out:   when it was made; no row when an unrevoked one has this name
-- Locks: the context of the act
INSERT INTO _data_manager_admin.token
  (token_id, name, digest, scope, services, created_by, expires_at)
VALUES (%(token_id)s, %(name)s, %(digest)s, %(scope)s, %(services)s::text[], %(created_by)s,
        clock_timestamp() + make_interval(secs => %(lifetime)s::double precision))
ON CONFLICT (name) WHERE revoked_at IS NULL DO NOTHING
RETURNING created_at, _data_manager_admin.keep_act(%(act)s::text::jsonb)
