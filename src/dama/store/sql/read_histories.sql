-- read_histories: the events of many contexts, as JSON texts.
-- In:    context_ids bigint[]; versions bigint[], how far to read in each; types text[] or NULL, which alone are read
-- Out:   event text: one JSON object a row, context by context as given, in the order of their versions
-- Locks: none
SELECT e.event
  FROM unnest(%(context_ids)s::bigint[], %(versions)s::bigint[]) WITH ORDINALITY c (id, upto, n)
  CROSS JOIN LATERAL (
    SELECT e.version, _data_manager_admin.event_json(e) AS event
      FROM _data_manager_admin.event_store_prototype e
      WHERE e.etl_context_id = c.id AND e.version <= c.upto
        AND (%(types)s::text[] IS NULL OR e.type = ANY (%(types)s::text[]))
      ORDER BY e.version OFFSET 0) e  -- OFFSET: one context after the other by the index, however many are asked for
  ORDER BY c.n, e.version
