-- 0016: how often a run lost its worker, and what troubles a worker.

ALTER TABLE _data_manager_admin.run_queue ADD COLUMN deaths int NOT NULL DEFAULT 0,
  ADD COLUMN deaths_alone int NOT NULL DEFAULT 0;
ALTER TABLE _data_manager_admin.worker ADD COLUMN trouble text;

COMMENT ON COLUMN _data_manager_admin.run_queue.deaths IS
  'How many workers died in a row while they held this run and it got no further.';
COMMENT ON COLUMN _data_manager_admin.run_queue.deaths_alone IS
  'Those of them that held no other run: nothing else can have killed them.';
COMMENT ON COLUMN _data_manager_admin.worker.trouble IS
  'What fails in the background of the worker at the moment; NULL when it is well.';

-- They take or return more now.
DROP FUNCTION IF EXISTS _data_manager_admin.release_workers(bigint[]);
DROP FUNCTION IF EXISTS _data_manager_admin.claim_runs(
  bigint, text[], bigint[], bigint[], text[], text[], bigint, int);
