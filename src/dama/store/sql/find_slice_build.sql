-- find_slice_build: whether somebody still wants a build.
-- In:    build bigint
-- Out:   one row if so
-- Locks: none
SELECT FROM _data_manager_admin.slice_build b WHERE b.build = %(build)s::bigint AND b.state <> 'dropped'
