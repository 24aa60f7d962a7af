-- write_slice_rows: keep the states of some contexts; an older one never replaces a newer one.
-- In:    build bigint; rows text: a JSON array of context_id, version, event_id, and the state as a JSON text
-- Out:   nothing
-- Locks: the rows
INSERT INTO _data_manager_admin.slice_row AS k (build, context_id, version, event_id, folded)
SELECT %(build)s::bigint, (r ->> 0)::bigint, (r ->> 1)::bigint, (r ->> 2)::bigint, r ->> 3
  FROM json_array_elements(%(rows)s::text::json) r ORDER BY 2
ON CONFLICT (build, context_id) DO UPDATE
  SET version = excluded.version, event_id = excluded.event_id, folded = excluded.folded
  WHERE k.version < excluded.version
