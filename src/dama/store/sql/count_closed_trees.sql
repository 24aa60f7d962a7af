-- count_closed_trees: how many trees could be archived.
-- In:    age interval; failed boolean
-- Out:   one number
-- Locks: none
SELECT count(*) FROM _data_manager_admin.closed_trees(%(age)s::interval, %(failed)s::boolean, 0, NULL)
