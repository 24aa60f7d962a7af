-- checksum: of the six columns of the first system, over some events.
-- In:    :events: the table; :which: of which rows
-- Out:   how many, and the checksum
-- Locks: none
SELECT count(*), lpad(to_hex((coalesce(sum(hashtextextended(
    ROW(e.event_id, e.etl_context_id, e.type, e.payload, e.meta, e.error)::text, 0)::numeric), 0) % 9223372036854775808)::bigint), 16, '0')
  FROM :events e WHERE :which
