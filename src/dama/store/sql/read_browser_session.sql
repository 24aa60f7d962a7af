-- read_browser_session: whose session a browser shows, as long as its token is good.
-- In:    digest bytea; idle double: seconds after which one that nobody uses is over
-- Out:   token_id, name, scope, services; no row when there is none, or it is over
-- Locks: its row, at most once a minute, and not when somebody else has it
WITH found AS (
  SELECT s.digest, s.seen_at, t.token_id, t.name, t.scope, t.services
    FROM _data_manager_admin.browser_session s JOIN _data_manager_admin.token t USING (token_id)
    WHERE s.digest = %(digest)s AND NOT s.is_ticket AND s.expires_at > clock_timestamp()
      AND s.seen_at > clock_timestamp() - make_interval(secs => %(idle)s::double precision)
      AND t.revoked_at IS NULL AND (t.expires_at IS NULL OR t.expires_at > clock_timestamp())),
touched AS (
  UPDATE _data_manager_admin.browser_session s SET seen_at = clock_timestamp()
    WHERE s.digest IN (SELECT b.digest FROM _data_manager_admin.browser_session b JOIN found f USING (digest)
                         WHERE f.seen_at < clock_timestamp() - interval '1 minute' FOR UPDATE OF b SKIP LOCKED))
SELECT token_id, name, scope, services FROM found
