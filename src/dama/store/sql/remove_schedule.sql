-- remove_schedule: it fires no more; what it started is kept.
-- In:    name text
-- Out:   its name; no row when there is none
-- Locks: the row of the schedule
DELETE FROM _data_manager_admin.schedule WHERE name = %(name)s::text RETURNING name
