-- begin_slice: the build of a slice to work on.
-- In:    slice text; version int: of the slice; again boolean: begin a new build
-- Out:   build; subscription text; archived_after bigint, NULL when all archived contexts are in it
--        none when it is shown in another version of the slice
-- Locks: see functions/slices.sql
SELECT f.build, f.subscription, f.archived_after
  FROM _data_manager_admin.begin_slice(%(slice)s::text, %(version)s::int, %(again)s::boolean) f
