-- read_snapshot: the newest cached state of a slice.
-- In:    context_id bigint; slice text; slice_version int
-- Out:   version, state text (JSON); none when there is none
-- Locks: none
SELECT version, state::text FROM _data_manager_admin.slice_snapshot
  WHERE context_id = %(context_id)s::bigint AND slice = %(slice)s AND slice_version = %(slice_version)s
