-- 0012: programs outlive their worker, so their runs belong to a host.

ALTER TABLE _data_manager_admin.run_queue
  ADD COLUMN host text,
  ADD COLUMN program_epoch bigint,
  ADD COLUMN host_until timestamptz;

DROP FUNCTION IF EXISTS _data_manager_admin.claim_runs(
  bigint, text[], bigint[], bigint[], text[], text[], bigint, int);

COMMENT ON COLUMN _data_manager_admin.run_queue.host IS
  'Where the program of the run was started, and may still go on; only workers there claim the run.';
COMMENT ON COLUMN _data_manager_admin.run_queue.program_epoch IS
  'The epoch that started the program.';
COMMENT ON COLUMN _data_manager_admin.run_queue.host_until IS
  'When other hosts may claim the run as well; set when its worker is gone.';
