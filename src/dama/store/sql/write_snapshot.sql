-- write_snapshot: cache the state of a slice; an older one never replaces a newer one.
-- In:    context_id bigint; slice text; slice_version int; version bigint; state text (JSON)
-- Out:   nothing
-- Locks: the row of the snapshot
INSERT INTO _data_manager_admin.slice_snapshot AS s (context_id, slice, slice_version, version, state)
VALUES (%(context_id)s, %(slice)s, %(slice_version)s, %(version)s, %(state)s::text)
ON CONFLICT (context_id, slice, slice_version) DO UPDATE
  SET version = excluded.version, state = excluded.state WHERE s.version < excluded.version
