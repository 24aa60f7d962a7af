-- find_firings: which firings of a schedule have a context here.
-- In:    name text; keys text[]: the idempotency keys of the firings
-- Out:   since (firings before it are unknown: the schedule was not there, or its contexts may be archived), key of a firing that has
--        a context, NULL in the one row where none has; no row without a schedule of this name
-- Locks: none
SELECT greatest(s.created_at, (SELECT a.created_at FROM _data_manager_admin.archived_context a ORDER BY a.context_id DESC LIMIT 1)),
       c.idempotency_key
  FROM _data_manager_admin.schedule s
  LEFT JOIN _data_manager_admin.etl_context c ON c.task = s.task AND c.idempotency_key = ANY (%(keys)s::text[])
  WHERE s.name = %(name)s::text
