-- 0056: a run whose job was lost is queued again after a pause, which unplace_run() is told. Workers of before tell none.

DROP FUNCTION IF EXISTS _data_manager_admin.unplace_run(bigint, bigint, boolean, jsonb, int, interval, interval);
