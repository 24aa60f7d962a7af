-- add_missing: a context for each id that an event or a parent names and that is not there.
-- Out:   how many were added
WITH missing AS (
  SELECT DISTINCT e.etl_context_id AS id FROM _data_manager_admin.event_store_prototype e
    WHERE NOT EXISTS (SELECT FROM _data_manager_admin.etl_context c WHERE c.context_id = e.etl_context_id)
  UNION
  SELECT p.parent_id FROM _data_manager_admin.etl_context p
    WHERE p.parent_id IS NOT NULL AND NOT EXISTS (SELECT FROM _data_manager_admin.etl_context c WHERE c.context_id = p.parent_id)),
added AS (
  INSERT INTO _data_manager_admin.etl_context (context_id, created_at, modified_at)
    SELECT m.id, 'epoch', 'epoch' FROM missing m ON CONFLICT DO NOTHING RETURNING 1)
SELECT count(*) FROM added
