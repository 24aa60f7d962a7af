-- later_events: a batch of events of the later generation is copied, and their contexts follow.
-- In:    :after, :most
-- Out:   the last event of the batch, and how many there were; no row at the end
-- Locks: the rows of these contexts; none that a writer of the old tables meets
WITH batch AS MATERIALIZED (
  SELECT e.* FROM data_manager.event_store e WHERE e.event_id > :after ORDER BY e.event_id LIMIT :most),
span AS (SELECT max(b.event_id)::bigint AS last, count(*) AS count FROM batch b),
fresh AS MATERIALIZED (
  SELECT b.*, :said AS said FROM (SELECT e.* FROM batch e) b CROSS JOIN LATERAL (SELECT b.meta AS meta) e
    WHERE NOT EXISTS (SELECT FROM _data_manager_admin.event_store_prototype n WHERE n.event_id = b.event_id)
      -- One that was committed since the contexts were copied, and is of a new one, comes with the next round.
      AND EXISTS (SELECT FROM _data_manager_admin.etl_context c WHERE c.context_id = b.etl_context_id)),
base AS MATERIALIZED (
  SELECT d.etl_context_id, coalesce((
      SELECT n.version FROM _data_manager_admin.event_store_prototype n
        WHERE n.etl_context_id = d.etl_context_id ORDER BY n.version DESC LIMIT 1), 0) AS version
    FROM (SELECT DISTINCT f.etl_context_id FROM fresh f) d),
placed AS MATERIALIZED (
  SELECT s.event_id::bigint, s.etl_context_id::bigint, s.type, s.payload, s.meta, s.error,
         b.version + row_number() OVER (PARTITION BY s.etl_context_id ORDER BY s.event_id) AS version,
         coalesce(:created, :time, to_timestamp(0)) AS at
    FROM fresh s JOIN base b USING (etl_context_id)),
copied AS (
  INSERT INTO _data_manager_admin.event_store_prototype (event_id, etl_context_id, type, payload, meta, error, version, created_at)
  SELECT p.event_id, p.etl_context_id, p.type, p.payload,
         CASE WHEN p.version = 1 AND coalesce(c.source_id, c.etl_task_id) IS NOT NULL
                   AND jsonb_typeof(coalesce(nullif(p.meta, 'null'), '{}')) = 'object'
              THEN jsonb_strip_nulls(jsonb_build_object('source_id', c.source_id, 'etl_task_id', c.etl_task_id)) || coalesce(nullif(p.meta, 'null'), '{}')
              ELSE p.meta END,
         p.error, p.version, p.at
    FROM placed p LEFT JOIN data_manager.etl_contexts c ON c.etl_context_id = p.etl_context_id ORDER BY p.event_id),
latest AS (
  SELECT DISTINCT ON (p.etl_context_id) p.etl_context_id, p.event_id, p.version, p.type, p.at,
         first_value(p.event_id) OVER (PARTITION BY p.etl_context_id ORDER BY p.version) AS first
    FROM placed p ORDER BY p.etl_context_id, p.version DESC),
followed AS (
  UPDATE _data_manager_admin.etl_context c
    SET version = l.version, status = _data_manager_admin.status_after(l.type), latest_event_id = l.event_id,
        initial_event_id = coalesce(c.initial_event_id, l.first), modified_at = greatest(c.modified_at, l.at)
    FROM latest l WHERE c.context_id = l.etl_context_id)
SELECT x.last, x.count FROM span x WHERE x.last IS NOT NULL
