-- read_previous_archived: the same as read_previous of what is archived.
-- In:    as read_previous; after bigint: only later ones
-- Out:   as read_previous
-- Locks: none
-- 20,000 contexts of any task are looked at, at most.
WITH near AS MATERIALIZED (
  SELECT r.context_id, r.latest_event_id, r.task, r.epoch FROM _data_manager_admin.archived_context r
    WHERE r.context_id < %(before)s::bigint AND r.context_id > %(after)s::bigint
    ORDER BY r.context_id DESC LIMIT 20000),
found AS (
  SELECT c.context_id, c.latest_event_id FROM near c
    CROSS JOIN LATERAL (
      SELECT i.payload FROM _data_manager_admin.archived_event i
        WHERE i.etl_context_id = c.context_id AND i.version = 1 OFFSET 0) i
    WHERE c.task = ANY (%(tasks)s::text[]) AND c.epoch > 0 AND c.context_id <> %(context_id)s::bigint
      AND (%(types)s::text[] IS NULL OR (
        SELECT TRUE FROM _data_manager_admin.archived_event e
          WHERE e.etl_context_id = c.context_id AND e.type = ANY (%(types)s::text[]) LIMIT 1))
      AND %(defaults)s::jsonb || coalesce(i.payload, '{}') @> %(params)s::jsonb
    ORDER BY c.context_id DESC LIMIT 1)
SELECT f.context_id, f.latest_event_id, TRUE FROM found f
UNION ALL
(SELECT n.context_id, NULL, FALSE FROM near n WHERE NOT EXISTS (SELECT FROM found)
   ORDER BY n.context_id DESC OFFSET 19999 LIMIT 1)
