-- list_steps_after: the steps that a context did after one of its versions, in their order.
-- In:    context_id bigint; version bigint; limit int
-- Out:   type; transactional boolean: its rows are there already
-- Locks: none
-- Along the steps and failures of the context: event_store_prototype_mark.
SELECT e.type, e.transactional FROM (
  (SELECT e.version, e.type, coalesce(e.meta -> 'transactional' = 'true', FALSE) AS transactional
     FROM _data_manager_admin.event_store_prototype e
     WHERE e.etl_context_id = %(context_id)s::bigint AND e.version > %(version)s::bigint
       AND e.type LIKE '%%/%%:%%' AND e.type LIKE '%%/%%:DONE'
     ORDER BY e.version LIMIT %(limit)s::int)
  UNION ALL
  (SELECT e.version, e.type, coalesce(e.meta -> 'transactional' = 'true', FALSE)
     FROM _data_manager_admin.archived_event e
     WHERE e.etl_context_id = %(context_id)s::bigint AND e.version > %(version)s::bigint
       AND e.type LIKE '%%/%%:%%' AND e.type LIKE '%%/%%:DONE'
     ORDER BY e.version LIMIT %(limit)s::int)) e
  ORDER BY e.version
