-- add_browser_session: a session of a browser, or a ticket to one; those that are over are removed.
-- In:    digest bytea; token_id text; is_ticket boolean; lifetime double: seconds
-- Out:   none
-- Locks: the rows that it removes, but none that somebody else has
WITH gone AS (
  DELETE FROM _data_manager_admin.browser_session
    WHERE digest IN (SELECT digest FROM _data_manager_admin.browser_session
                       WHERE expires_at < clock_timestamp() LIMIT 100 FOR UPDATE SKIP LOCKED))
INSERT INTO _data_manager_admin.browser_session (digest, token_id, is_ticket, expires_at)
VALUES (%(digest)s, %(token_id)s, %(is_ticket)s,
        clock_timestamp() + make_interval(secs => %(lifetime)s::double precision))
