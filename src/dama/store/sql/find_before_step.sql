-- find_before_step: the last event of a context before anything is recorded of a step; where nothing is, the last
-- one before the context failed.
-- In:    context_id bigint; step text: the start of the types of its events, LIKE
-- Out:   event_id; none when the first event is of the step
-- Locks: none
-- Along the steps and failures of the context (event_store_prototype_mark) to the first that fits: the fork that
-- asks copies what comes before it.
WITH reached AS (
  (SELECT e.version FROM _data_manager_admin.event_store_prototype e
     WHERE e.etl_context_id = %(context_id)s::bigint AND e.type LIKE '%%/%%:%%' AND e.type LIKE %(step)s
     ORDER BY e.version LIMIT 1)
  UNION ALL
  (SELECT e.version FROM _data_manager_admin.archived_event e
     WHERE e.etl_context_id = %(context_id)s::bigint AND e.type LIKE '%%/%%:%%' AND e.type LIKE %(step)s
     ORDER BY e.version LIMIT 1)),
failed AS (
  (SELECT e.version FROM _data_manager_admin.event_store_prototype e
     WHERE e.etl_context_id = %(context_id)s::bigint AND e.type ~ ':(ERROR|CANCELLED)$'
     ORDER BY e.version DESC LIMIT 1)
  UNION ALL
  (SELECT e.version FROM _data_manager_admin.archived_event e
     WHERE e.etl_context_id = %(context_id)s::bigint AND e.type ~ ':(ERROR|CANCELLED)$'
     ORDER BY e.version DESC LIMIT 1)),
point AS MATERIALIZED (SELECT coalesce((SELECT version FROM reached), (SELECT version FROM failed)) - 1 AS version)
SELECT e.event_id FROM point p CROSS JOIN LATERAL _data_manager_admin.events_anywhere(%(context_id)s::bigint, p.version) e
  WHERE e.version = p.version
