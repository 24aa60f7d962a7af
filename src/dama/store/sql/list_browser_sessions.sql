-- list_browser_sessions: the sessions of browsers that are not over, the latest seen first.
-- In:    idle double: seconds after which one that nobody uses is over; most int
-- Out:   id (the first part of its digest), token, scope, seen_at, expires_at
-- Locks: none
SELECT left(encode(s.digest, 'hex'), 16), t.name, t.scope, s.seen_at, s.expires_at
  FROM _data_manager_admin.browser_session s JOIN _data_manager_admin.token t USING (token_id)
  WHERE NOT s.is_ticket AND s.expires_at > clock_timestamp()
    AND s.seen_at > clock_timestamp() - make_interval(secs => %(idle)s::double precision)
    AND t.revoked_at IS NULL AND (t.expires_at IS NULL OR t.expires_at > clock_timestamp())
  ORDER BY s.seen_at DESC LIMIT %(most)s::int
