-- read_open_waits: the waits for events that have begun in a context and not ended, in a window of its events.
-- In:    context_id bigint; after_version bigint: the window begins behind it; open text[]: types of waits that began
--        before it and have not ended
-- Out:   version, type, payload jsonb, created_at of the beginnings of waits; type alone of those of `open` that end in
--        the window; version alone where there are more: the window ends there
-- Locks: none
-- 20,000 events are looked at, at most. LIKE, since an expression would take five times as long for each.
WITH near AS MATERIALIZED (
  SELECT e.version, e.type, e.payload, e.created_at FROM _data_manager_admin.event_store_prototype e
    WHERE e.etl_context_id = %(context_id)s::bigint AND e.version > %(after_version)s::bigint
      AND e.version <= %(after_version)s::bigint + 20000),
done AS MATERIALIZED (
  SELECT left(n.type, -length('DONE')) || 'WAITING' AS type FROM near n WHERE n.type LIKE '%%.%%/%%:DONE')
SELECT b.version, b.type, b.payload, b.created_at FROM near b
  WHERE b.type LIKE '%%.%%/%%:WAITING' AND (b.payload ? 'type' OR b.payload ? 'types')
    AND b.type NOT IN (SELECT d.type FROM done d)
UNION ALL
SELECT NULL, d.type, NULL, NULL FROM done d WHERE d.type = ANY (%(open)s::text[])
UNION ALL
SELECT %(after_version)s::bigint + 20000, NULL, NULL, NULL FROM _data_manager_admin.etl_context c
  WHERE c.context_id = %(context_id)s::bigint AND c.version > %(after_version)s::bigint + 20000
ORDER BY 1
