-- 0046: exported_contexts() tells a status, and end_import() is told the versions.

DROP FUNCTION IF EXISTS _data_manager_admin.exported_contexts(bigint[], text);
DROP FUNCTION IF EXISTS _data_manager_admin.end_import(bigint[], jsonb, jsonb);
