-- read_events: events of one context, in order, as JSON texts that are decoded in one go.
-- In:    context_id bigint, after_version bigint, up_to_event bigint or NULL, limit int or NULL
-- Out:   event text: one JSON object a row; what is absent is left out
-- Locks: none
SELECT _data_manager_admin.event_json(e)
  FROM _data_manager_admin.event_store_prototype e
  WHERE e.etl_context_id = %(context_id)s::bigint AND e.version > %(after_version)s::bigint
    AND (%(up_to_event)s::bigint IS NULL
         OR e.version <= (SELECT _data_manager_admin.version_at(%(context_id)s::bigint, %(up_to_event)s::bigint)))
  ORDER BY e.version
  LIMIT %(limit)s::int
