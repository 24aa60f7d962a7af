-- keep_act: what somebody did that no other statement keeps; see functions/acts.sql.
-- In:    act text: the event as JSON
-- Out:   the context that has it
-- Locks: the row of the year; the row of the context
SELECT _data_manager_admin.keep_act(%(act)s::text::jsonb)
