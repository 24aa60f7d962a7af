-- is_behind: whether more events or contexts than a few have no place yet.
-- In:    :most
-- Out:   a boolean
-- Locks: none
SELECT (SELECT count(*) > :most FROM (SELECT FROM _data_manager_admin.event_store_prototype e WHERE e.version IS NULL LIMIT :most + 1) e)
    OR (SELECT count(*) > :most FROM (SELECT FROM _data_manager_admin.etl_context c WHERE c.root_context_id IS NULL LIMIT :most + 1) c)
