-- stage_contexts: what each context is by the events that were there before the first column was added.
DROP TABLE IF EXISTS _data_manager_admin.adoption_context;
CREATE UNLOGGED TABLE _data_manager_admin.adoption_context AS
  WITH told AS MATERIALIZED (
    SELECT e.etl_context_id AS context_id, max(e.version) AS version, min(e.event_id) AS first, max(e.event_id) AS latest,
           min(e.created_at) FILTER (WHERE e.created_at > 'epoch') AS created_at,
           max(e.created_at) FILTER (WHERE e.created_at > 'epoch') AS modified_at,
           max(_data_manager_admin.number_in(e.meta, 'epoch', 1e18)::bigint) FILTER (WHERE e.meta ? 'epoch' AND e.type ~ ':(STARTED|ADOPTED|LOST)$') AS epoch
      FROM _data_manager_admin.event_store_prototype e
      WHERE e.xid = (SELECT a.xid FROM _data_manager_admin.adoption a WHERE a.generation = 'first')
      GROUP BY e.etl_context_id)
  SELECT p.context_id, p.root, t.version, t.first, t.latest, t.created_at, t.modified_at, t.epoch,
         CASE WHEN t.latest IS NOT NULL THEN _data_manager_admin.status_after(l.type) END AS status
    FROM _data_manager_admin.placed_contexts() p LEFT JOIN told t ON t.context_id = p.context_id
    LEFT JOIN _data_manager_admin.event_store_prototype l ON l.event_id = t.latest;
CREATE INDEX ON _data_manager_admin.adoption_context (context_id);
ANALYZE _data_manager_admin.adoption_context;
