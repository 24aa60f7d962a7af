-- write_rungs: cache states of a slice along the history of a context.
-- In:    context_id bigint; slice text; slice_version int; rungs text: a JSON array of versions, each with its state,
--        which is JSON as a string (an array of the driver would be escaped piece by piece)
-- Out:   nothing
-- Locks: the rows, which are new
INSERT INTO _data_manager_admin.slice_rung (context_id, slice, slice_version, version, state)
SELECT %(context_id)s::bigint, %(slice)s, %(slice_version)s::int, (r ->> 0)::bigint, r ->> 1
  FROM json_array_elements(%(rungs)s::text::json) r
ON CONFLICT DO NOTHING
