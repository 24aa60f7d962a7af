-- read_writes: which steps wrote tables, the latest first of each.
-- In:    tables text[]: their names; most int: of each
-- Out:   one row each: table, context_id, epoch, task, step, created_at, rows (NULL where it is not known), inputs (JSON)
-- Locks: none
-- Anybody may say anything in such an event: what is no number that a bigint can be is not known.
SELECT n.name, w.etl_context_id, _data_manager_admin.number_in(w.meta, 'epoch', 1e18)::bigint, c.task, w.type, w.created_at,
       _data_manager_admin.number_in(w.payload, 'rows', 1e18)::bigint,
       CASE WHEN jsonb_typeof(w.payload -> 'inputs') = 'array' THEN w.payload -> 'inputs' ELSE '[]' END
  FROM unnest(%(tables)s::text[]) WITH ORDINALITY n (name, place)
  CROSS JOIN LATERAL (
    SELECT e.event_id, e.etl_context_id, e.meta, e.type, e.created_at, e.payload
      FROM _data_manager_admin.event_store_prototype e
      WHERE e.type LIKE '%%/%%:DONE' AND e.payload ? 'table' AND left(e.payload ->> 'table', 128) = left(n.name, 128)
        AND e.payload ->> 'table' = n.name
      ORDER BY left(e.payload ->> 'table', 128), e.event_id DESC LIMIT %(most)s::int) w
  LEFT JOIN _data_manager_admin.etl_context c ON c.context_id = w.etl_context_id
  ORDER BY n.place, w.event_id DESC
