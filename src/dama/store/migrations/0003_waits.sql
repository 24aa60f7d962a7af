-- 0003: runs wait for times and signals too; workers claim only the tasks that they know, and learn
-- with their lease what is left to do.

DROP FUNCTION IF EXISTS _data_manager_admin.park_run(bigint, bigint, bigint[], boolean);
DROP FUNCTION IF EXISTS _data_manager_admin.claim_runs(bigint, text[], bigint, int);
DROP FUNCTION IF EXISTS _data_manager_admin.renew_lease(bigint, int, interval);
