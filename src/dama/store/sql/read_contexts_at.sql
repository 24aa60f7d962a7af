-- read_contexts_at: what contexts were at a position of the log.
-- In:    context_ids bigint[]; position bigint
-- Out:   context_id, version, type and created_at of the last event up to there, status after it; no row for one
--        that had no event yet
-- Locks: none
SELECT v.context_id, v.version, e.type, e.created_at, _data_manager_admin.status_after(e.type)
  FROM (SELECT c.context_id, _data_manager_admin.version_at_position(c.context_id, %(position)s::bigint) AS version
          FROM unnest(%(context_ids)s::bigint[]) c (context_id) OFFSET 0) v
  CROSS JOIN LATERAL (
    SELECT s.type, s.created_at FROM _data_manager_admin.event_store_prototype s
      WHERE s.etl_context_id = v.context_id AND s.version <= v.version
      ORDER BY s.version DESC LIMIT 1) e
