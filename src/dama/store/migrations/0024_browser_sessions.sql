-- 0024: sessions of browsers, each of a token. Operational: no event depends on them.

CREATE TABLE _data_manager_admin.browser_session (
  digest     bytea PRIMARY KEY,
  token_id   text NOT NULL REFERENCES _data_manager_admin.token,
  is_ticket  boolean NOT NULL DEFAULT false,
  seen_at    timestamptz NOT NULL DEFAULT clock_timestamp(),
  expires_at timestamptz NOT NULL
);

COMMENT ON TABLE _data_manager_admin.browser_session IS
  'Browsers that have shown a token. The secret of the cookie is nowhere: digest is its SHA-256.';
COMMENT ON COLUMN _data_manager_admin.browser_session.is_ticket IS
  'Not a session yet: `dama open` made it, and the first browser that shows it gets one.';

CREATE INDEX browser_session_expires ON _data_manager_admin.browser_session (expires_at);
