-- note_slice_archived: the archived contexts up to one are in a build.
-- In:    build bigint; after bigint: that one; NULL: all
-- Out:   nothing
-- Locks: the row of the build
UPDATE _data_manager_admin.slice_build SET archived_after = %(after)s::bigint
  WHERE build = %(build)s::bigint
