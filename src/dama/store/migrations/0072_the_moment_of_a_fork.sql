-- 0072: fork_context() has a further parameter.

DROP FUNCTION IF EXISTS _data_manager_admin.fork_context(bigint, bigint, jsonb, jsonb);
