-- stage_versions: which version each event gets that was there before the first column was added, and the time that it
-- says of itself; the same each time.
-- In:    :said, :time: what an event says of its time
DROP TABLE IF EXISTS _data_manager_admin.adoption_version;
CREATE UNLOGGED TABLE _data_manager_admin.adoption_version AS
  SELECT e.event_id, row_number() OVER (PARTITION BY e.etl_context_id ORDER BY e.event_id) AS version, :time AS at
    FROM _data_manager_admin.event_store_prototype e CROSS JOIN LATERAL (SELECT :said AS said OFFSET 0) s
    WHERE e.xid = (SELECT a.xid FROM _data_manager_admin.adoption a WHERE a.generation = 'first');
CREATE INDEX ON _data_manager_admin.adoption_version (event_id) INCLUDE (version, at);
ANALYZE _data_manager_admin.adoption_version;
