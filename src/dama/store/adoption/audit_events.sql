-- audit_events: what is odd in single events, and the checksum of all.
-- In:    :events: the table; :said, :time: what an
--        event says of its time; :kinds: for each kind its count and at most five examples, by the :flags
-- Out:   one object: rows, latest, checksum, and the kinds
-- Locks: none
SELECT jsonb_build_object(
    'rows', count(*), 'latest', coalesce(max(o.event_id), 0),
    'checksum', lpad(to_hex((coalesce(sum(o.hash::numeric), 0) % 9223372036854775808)::bigint), 16, '0'))
  || :kinds
  FROM (
  SELECT o.event_id, o.id, o.hash, :flags FROM (
    SELECT r.event_id, r.event_id AS id, r.etl_context_id, r.type, r.payload, r.meta, r.error, r.at,
           CASE WHEN r.type LIKE '%:%' THEN split_part(r.type, ':', -1) ELSE '' END AS word, hashtextextended(r.text, 0) AS hash,
           CASE WHEN octet_length(r.text) > 250 THEN octet_length(r.text) > 1048576
             OR (length(r.text) - length(translate(r.text, '[{', '')) > 100
                 AND jsonb_path_exists(jsonb_build_array(r.payload, r.meta), 'strict $.**{101} ? (@.type() == "array" || @.type() == "object")'))
             OR r.text ~ '[0-9]{300}' ELSE FALSE END AS is_odd
      FROM (
        SELECT e.event_id, e.etl_context_id, e.type, e.payload, e.meta, e.error, :time AS at,
               ROW(e.event_id, e.etl_context_id, e.type, e.payload, e.meta, e.error)::text AS text
          FROM :events e CROSS JOIN LATERAL (SELECT :said AS said OFFSET 0) s OFFSET 0) r OFFSET 0) o OFFSET 0) o
