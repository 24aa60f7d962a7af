-- later_checksum: of the six columns of events, without what a copy adds to the meta of a first event.
-- In:    :events: the table; :which: of which rows
-- Out:   how many, and the checksum
-- Locks: none
SELECT count(*), lpad(to_hex((coalesce(sum(hashtextextended(
    ROW(e.event_id::bigint, e.etl_context_id::bigint, e.type, e.payload,
        CASE WHEN jsonb_typeof(e.meta) = 'object' THEN nullif(e.meta - 'source_id' - 'etl_task_id', '{}') ELSE nullif(e.meta, 'null') END,
        e.error)::text, 0)::numeric), 0) % 9223372036854775808)::bigint), 16, '0')
  FROM :events e WHERE :which
