-- show_slice: let a build that has caught up take the place of the one that is shown.
-- In:    build bigint
-- Out:   nothing
-- Locks: the lane of the subscription of the other
SELECT _data_manager_admin.show_slice(%(build)s::bigint)
