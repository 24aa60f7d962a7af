-- 0007: the tables whose rows are changed all the time are vacuumed early, and archiving goes on from
-- tree to tree. By default a table waits until a fifth of it is dead, which for a queue that was long
-- once is never.

ALTER TABLE _data_manager_admin.run_queue SET (
  autovacuum_vacuum_scale_factor = 0.01, autovacuum_vacuum_threshold = 1000,
  autovacuum_analyze_scale_factor = 0.05);
ALTER TABLE _data_manager_admin.etl_context SET (
  autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 1000);

-- Few rows, each renewed for ever: room in their pages keeps the updates off the indexes.
ALTER TABLE _data_manager_admin.worker SET (
  fillfactor = 20, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 200);
ALTER TABLE _data_manager_admin.queue_setting SET (
  fillfactor = 20, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 200);
ALTER TABLE _data_manager_admin.subscription_lane SET (
  autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 200);
ALTER TABLE _data_manager_admin.event_log_state SET (
  autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 200);

DROP FUNCTION IF EXISTS _data_manager_admin.archive_trees(interval, boolean, int);
DROP FUNCTION IF EXISTS _data_manager_admin.closed_trees(interval, boolean, int);
