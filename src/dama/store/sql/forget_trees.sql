-- forget_trees: remove some archived trees for good.
-- In:    age interval; demand int
-- Out:   contexts, events that were removed
-- Locks: the archived rows
SELECT contexts, events FROM _data_manager_admin.forget_trees(%(age)s::interval, %(demand)s::int)
