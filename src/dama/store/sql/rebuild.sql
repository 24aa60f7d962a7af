-- rebuild: derive again what follows from the events; see functions/rebuild.sql.
-- In:    nothing
-- Out:   contexts that were corrected; runs that are queued now
-- Locks: both public tables and the queue, against writers
SELECT contexts, runs FROM _data_manager_admin.rebuild()
