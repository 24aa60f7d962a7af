-- remove_slice_rows: some rows of builds that nobody keeps.
-- In:    demand int
-- Out:   how many rows were removed
-- Locks: the row of a build, SKIP LOCKED
SELECT _data_manager_admin.remove_slice_rows(%(demand)s::int)
