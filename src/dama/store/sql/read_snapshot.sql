-- read_snapshot: the newest cached state of a slice.
-- In:    context_id bigint; slice text; slice_version int
-- Out:   version, state text (JSON); none when there is none, or only one of events that the context does not
--        have: of a history that a restore undid
-- Locks: none
SELECT s.version, s.state
  FROM _data_manager_admin.slice_snapshot s JOIN _data_manager_admin.etl_context c USING (context_id)
  WHERE s.context_id = %(context_id)s::bigint AND s.slice = %(slice)s AND s.slice_version = %(slice_version)s
    AND s.version <= c.version
