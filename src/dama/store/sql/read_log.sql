-- read_log: a page of the log; see functions/read_log.sql.
-- In:    after, up_to bigint; demand int; the filter; subscription text and lane int, or NULL
-- Out:   position, event text (JSON, NULL in a last row that says how far was looked)
-- Locks: none
SELECT place, event
  FROM _data_manager_admin.read_log(
    %(after)s::bigint, %(up_to)s::bigint, %(demand)s::int, %(types)s::text[], %(prefix)s::text,
    %(root)s::bigint, %(context)s::bigint, %(subscription)s::text, %(lane)s::int)
