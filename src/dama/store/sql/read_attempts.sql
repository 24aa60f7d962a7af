-- read_attempts: of which attempts events are, and what started these.
-- In:    event_ids bigint[]
-- Out:   for each event one row for its context (own), its parent and its root, where these are others: event_id, relation,
--        context_id, task, epoch, version and meta of the event that began the attempt, scheduled_for (own). An attempt begins with
--        the first STARTED or ADOPTED after the last end; no row where none has begun
-- Locks: none
SELECT a.event_id, w.relation, w.context_id, k.task, _data_manager_admin.number_in(b.meta, 'epoch', 1e18)::bigint, b.version, b.meta,
       CASE WHEN w.relation = 'own' THEN i.meta ->> 'scheduled_for' END
  FROM unnest(%(event_ids)s::bigint[]) AS a (event_id)
  JOIN _data_manager_admin.event_store_prototype e ON e.event_id = a.event_id
  JOIN _data_manager_admin.etl_context c ON c.context_id = e.etl_context_id
  LEFT JOIN _data_manager_admin.event_store_prototype i ON i.etl_context_id = e.etl_context_id AND i.type LIKE '%%:INITIAL'
  CROSS JOIN LATERAL (VALUES
    ('own', c.context_id, a.event_id), ('parent', c.parent_id, i.event_id), ('root', c.root_context_id, i.event_id)
  ) AS w (relation, context_id, latest)
  JOIN _data_manager_admin.etl_context k ON k.context_id = w.context_id
  CROSS JOIN LATERAL (
    SELECT x.version, x.meta FROM _data_manager_admin.event_store_prototype x
      WHERE x.etl_context_id = w.context_id AND x.event_id <= w.latest AND right(x.type, 8) IN (':STARTED', ':ADOPTED')
        AND x.version > coalesce((
          SELECT y.version FROM _data_manager_admin.event_store_prototype y
            WHERE y.etl_context_id = w.context_id AND y.event_id < w.latest AND y.type ~ ':(RETRYING|ERROR|CANCELLED|FINAL)$'
            ORDER BY y.version DESC LIMIT 1), 0)
      ORDER BY x.version LIMIT 1) b
  WHERE w.relation = 'own' OR w.context_id <> c.context_id
  ORDER BY a.event_id, w.relation
