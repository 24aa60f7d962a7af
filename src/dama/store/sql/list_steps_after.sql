-- list_steps_after: the steps that a context did after one of its versions, in their order.
-- In:    context_id bigint; version bigint; limit int
-- Out:   type; transactional boolean: its rows are there already
-- Locks: none
SELECT e.type, coalesce(e.meta -> 'transactional' = 'true', FALSE)
  FROM _data_manager_admin.events_anywhere(%(context_id)s::bigint, 9223372036854775807) e
  WHERE e.version > %(version)s::bigint AND e.type LIKE '%%/%%:DONE'
  ORDER BY e.version LIMIT %(limit)s::int
