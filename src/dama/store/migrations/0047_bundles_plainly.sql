-- 0047: exported_contexts() is told whether what was imported leaves as what it is here.

DROP FUNCTION IF EXISTS _data_manager_admin.exported_contexts(bigint[], text);
