-- note_activity: what happened since the last call, for charts; see functions/activity.sql.
-- In:    most int: so many positions of the log
-- Out:   how many were read
-- Locks: an advisory lock, tried and never waited for
SELECT _data_manager_admin.note_activity(%(most)s::int)
