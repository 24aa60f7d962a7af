-- end_browser_session: somebody ends the session of a browser.
-- In:    id text, as list_browser_sessions has it; act text: the event of the act as JSON
-- Out:   its id; no row when there is none
-- Locks: its row; the row of the acts of the year
DELETE FROM _data_manager_admin.browser_session
  WHERE left(encode(digest, 'hex'), 16) = %(id)s AND NOT is_ticket
  RETURNING left(encode(digest, 'hex'), 16), _data_manager_admin.keep_act(%(act)s::text::jsonb)
