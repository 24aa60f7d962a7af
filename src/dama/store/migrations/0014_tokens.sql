-- 0014: tokens of people and programs that call over HTTP. Operational: no event depends on them.

CREATE TABLE _data_manager_admin.token (
  token_id   text PRIMARY KEY,
  name       text NOT NULL,
  digest     bytea NOT NULL,
  scope      text NOT NULL CHECK (scope IN ('viewer', 'operator', 'admin')),
  services   text[],
  created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  created_by text NOT NULL,
  expires_at timestamptz,
  revoked_at timestamptz
);

COMMENT ON TABLE _data_manager_admin.token IS
  'Who may call over HTTP. The secret itself is nowhere: digest is its SHA-256.';
COMMENT ON COLUMN _data_manager_admin.token.services IS 'Only actions and tasks of these; NULL for all.';

-- A name is free again once its token was revoked.
CREATE UNIQUE INDEX token_name ON _data_manager_admin.token (name) WHERE revoked_at IS NULL;

-- What the tokens of runs are signed with. A run that ends takes nothing away, and none is stored.
CREATE TABLE _data_manager_admin.run_secret (
  only_one boolean PRIMARY KEY DEFAULT true CHECK (only_one),
  secret   bytea NOT NULL
);

-- 244 bits of chance: what the server itself has without an extension.
INSERT INTO _data_manager_admin.run_secret (secret) VALUES (sha256(
  (gen_random_uuid()::text || gen_random_uuid()::text)::bytea));
