-- take_browser_ticket: the token of a ticket, which is used up by that.
-- In:    digest bytea
-- Out:   token_id; no row when there is none, it has expired, or its token is not good
-- Locks: its row
DELETE FROM _data_manager_admin.browser_session s USING _data_manager_admin.token t
  WHERE s.digest = %(digest)s AND s.is_ticket AND s.expires_at > clock_timestamp()
    AND t.token_id = s.token_id AND t.revoked_at IS NULL
    AND (t.expires_at IS NULL OR t.expires_at > clock_timestamp())
  RETURNING t.token_id
