-- read_written: which tables attempts wrote and read, as their steps say.
-- In:    contexts, begins, ends bigint[]: attempts, each with the versions of its first and its last event
-- Out:   one row for each table of an attempt, at most 1,000: context_id, table (NULL for what was only read), rows (of all steps; NULL
--        where no step knows), inputs (JSON arrays, one for each step)
-- Locks: none
SELECT a.context_id, w.name, w.rows, w.inputs
  FROM unnest(%(contexts)s::bigint[], %(begins)s::bigint[], %(ends)s::bigint[]) AS a (context_id, begins, ends)
  CROSS JOIN LATERAL (
    SELECT e.payload ->> 'table' AS name, sum(_data_manager_admin.number_in(e.payload, 'rows', 1e18))::bigint AS rows,
           jsonb_agg(e.payload -> 'inputs') FILTER (WHERE jsonb_typeof(e.payload -> 'inputs') = 'array') AS inputs
      FROM _data_manager_admin.event_store_prototype e
      WHERE e.etl_context_id = a.context_id AND e.version BETWEEN a.begins AND a.ends
        AND e.type LIKE '%%/%%:DONE' AND (e.payload ? 'table' OR e.payload ? 'inputs')
      GROUP BY 1 ORDER BY 1 LIMIT 1000) w
