-- read_rung: the latest cached state of a slice that is not after an event.
-- In:    context_id bigint; slice text; slice_version int; event_id bigint, or NULL for the latest event
-- Out:   version, state text (JSON); none when there is none, or only one of events that the context does not
--        have: of a history that a restore undid
-- Locks: none
SELECT r.version, r.state
  FROM _data_manager_admin.slice_rung r
  WHERE r.context_id = %(context_id)s::bigint AND r.slice = %(slice)s AND r.slice_version = %(slice_version)s
    AND r.version <= (SELECT least(c.version, _data_manager_admin.version_at(c.context_id, %(event_id)s::bigint))
                        FROM _data_manager_admin.etl_context c WHERE c.context_id = %(context_id)s::bigint)
  ORDER BY r.version DESC LIMIT 1
