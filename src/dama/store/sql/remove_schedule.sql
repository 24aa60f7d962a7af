-- remove_schedule: it fires no more; what it started is kept.
-- In:    name text
--        act text: the event of the act as JSON, or NULL
-- Out:   its name; no row when there is none
-- Locks: the row of the schedule
DELETE FROM _data_manager_admin.schedule WHERE name = %(name)s::text RETURNING name, _data_manager_admin.keep_act(%(act)s::text::jsonb)
