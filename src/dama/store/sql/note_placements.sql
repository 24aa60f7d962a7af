-- note_placements: what an engine says of jobs.
-- In:    contexts, epochs bigint[]; native_ids, states, reasons, nodes text[]
-- Out:   nothing
-- Locks: rows of placement
UPDATE _data_manager_admin.placement p
  SET native_id = s.native_id, state = s.state, reason = s.reason, node = s.node,
      since = CASE WHEN (p.state, p.reason) IS DISTINCT FROM (s.state, s.reason) THEN clock_timestamp() ELSE p.since END
  FROM unnest(%(contexts)s::bigint[], %(epochs)s::bigint[], %(native_ids)s::text[], %(states)s::text[],
              %(reasons)s::text[], %(nodes)s::text[]) s (context_id, epoch, native_id, state, reason, node)
  WHERE p.context_id = s.context_id AND p.epoch = s.epoch
