-- 0003: runs wait for times and signals too.

DROP FUNCTION IF EXISTS _data_manager_admin.park_run(bigint, bigint, bigint[], boolean);
