-- read_run_secret: what the tokens of runs are signed with.
-- In:    nothing
-- Out:   secret bytea
-- Locks: none
SELECT secret FROM _data_manager_admin.run_secret
