-- 0025: a run whose parts wait for subtasks of their own wakes with the first end; park_run takes one more.

DROP FUNCTION IF EXISTS _data_manager_admin.park_run(bigint, bigint, bigint[], boolean, timestamptz, text[], bigint);
