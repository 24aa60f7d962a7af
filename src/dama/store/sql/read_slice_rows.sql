-- read_slice_rows: the states that a build has of some contexts.
-- In:    build bigint; context_ids bigint[]
-- Out:   context_id, version, folded text (JSON)
-- Locks: none; the caller holds the lane of the build
SELECT r.context_id, r.version, r.folded FROM _data_manager_admin.slice_row r
  WHERE r.build = %(build)s::bigint AND r.context_id = ANY (%(context_ids)s::bigint[])
