-- read_archived_events: events of an archived context, in order, as JSON texts.
-- In:    context_id bigint, after_version bigint, limit int
-- Out:   event text: one JSON object a row; what is absent is left out
-- Locks: none
SELECT _data_manager_admin.event_json(jsonb_populate_record(NULL::_data_manager_admin.event_store_prototype, to_jsonb(e)))
  FROM _data_manager_admin.archived_event e
  WHERE e.etl_context_id = %(context_id)s::bigint AND e.version > %(after_version)s::bigint
  ORDER BY e.version
  LIMIT %(limit)s::int
