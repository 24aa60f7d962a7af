-- find_before_step: the last event of a context before anything is recorded of a step; where nothing is, the last
-- one before the context failed.
-- In:    context_id bigint; step text: the start of the types of its events, LIKE
-- Out:   event_id; none when the first event is of the step
-- Locks: none
WITH point AS (
  SELECT coalesce(
    (SELECT min(e.version) FROM _data_manager_admin.events_anywhere(%(context_id)s::bigint, 9223372036854775807) e
       WHERE e.type LIKE %(step)s),
    (SELECT max(e.version) FROM _data_manager_admin.events_anywhere(%(context_id)s::bigint, 9223372036854775807) e
       WHERE e.type ~ ':(ERROR|CANCELLED)$')) - 1 AS version)
SELECT e.event_id FROM point p CROSS JOIN LATERAL _data_manager_admin.events_anywhere(%(context_id)s::bigint, p.version) e
  WHERE e.version = p.version
