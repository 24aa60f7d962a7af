-- read_writes: which steps wrote tables, the latest first of each.
-- In:    tables text[]: their names, at most 128 characters of each; most int: of each
-- Out:   one row each: table, context_id, epoch, task, step, created_at, rows (NULL where it is not known), inputs (JSON)
-- Locks: none
SELECT n.name, w.etl_context_id, (w.meta ->> 'epoch')::bigint, c.task, w.type, w.created_at,
       CASE WHEN jsonb_typeof(w.payload -> 'rows') = 'number' THEN (w.payload ->> 'rows')::numeric::bigint END,
       CASE WHEN jsonb_typeof(w.payload -> 'inputs') = 'array' THEN w.payload -> 'inputs' ELSE '[]' END
  FROM unnest(%(tables)s::text[]) WITH ORDINALITY n (name, place)
  CROSS JOIN LATERAL (
    SELECT e.event_id, e.etl_context_id, e.meta, e.type, e.created_at, e.payload
      FROM _data_manager_admin.event_store_prototype e
      WHERE e.type LIKE '%%/%%:DONE' AND e.payload ? 'table' AND left(e.payload ->> 'table', 128) = n.name
      ORDER BY left(e.payload ->> 'table', 128), e.event_id DESC LIMIT %(most)s::int) w
  LEFT JOIN _data_manager_admin.etl_context c ON c.context_id = w.etl_context_id
  ORDER BY n.place, w.event_id DESC
