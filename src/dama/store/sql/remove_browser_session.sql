-- remove_browser_session: a browser has logged out.
-- In:    digest bytea
-- Out:   none
-- Locks: its row
DELETE FROM _data_manager_admin.browser_session WHERE digest = %(digest)s
