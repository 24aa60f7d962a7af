-- find_events: events of one context that fit, among those of some versions; the latest first, or the oldest.
-- In:    context_id, low, high bigint (versions, both included); backwards boolean; type text (a pattern of LIKE) or NULL;
--        text text (in the type, the payload or the meta, in any case) or NULL; failed boolean (errors only);
--        marks boolean (begins and ends of runs, and errors only); limit int
-- Out:   event text: one JSON object a row, as of read_events
-- Locks: none
SELECT _data_manager_admin.event_json(e)
  FROM _data_manager_admin.event_store_prototype e
  WHERE e.etl_context_id = %(context_id)s::bigint
    AND e.version BETWEEN %(low)s::bigint AND %(high)s::bigint
    AND (%(type)s::text IS NULL OR e.type LIKE %(type)s::text)
    AND (NOT %(failed)s::boolean OR e.error)
    AND (NOT %(marks)s::boolean OR e.error
         OR e.type ~ ':(INITIAL|STARTED|ADOPTED|LOST|RETRYING|RESUMED|ERROR|CANCELLED|FINAL|FAILED)$')
    AND (%(text)s::text IS NULL
         OR strpos(lower(concat_ws(' ', e.type, e.payload, e.meta)), lower(%(text)s::text)) > 0)
  ORDER BY CASE WHEN %(backwards)s::boolean THEN -e.version ELSE e.version END
  LIMIT %(limit)s::int
