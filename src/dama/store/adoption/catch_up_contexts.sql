-- catch_up_contexts: contexts that were made meanwhile get their roots.
-- In:    :most
-- Locks: the rows of these contexts
UPDATE _data_manager_admin.etl_context c SET root_context_id = r.root
  FROM (
    SELECT n.context_id, (
        WITH RECURSIVE up AS (
          SELECT n.context_id AS id, n.parent_id AS parent
          UNION
          SELECT p.context_id, p.parent_id FROM up JOIN _data_manager_admin.etl_context p ON p.context_id = up.parent)
        SELECT coalesce(min(u.id) FILTER (WHERE u.parent IS NULL OR NOT EXISTS (
                 SELECT FROM _data_manager_admin.etl_context p WHERE p.context_id = u.parent)), min(u.id)) FROM up u) AS root
      FROM (SELECT k.context_id, k.parent_id FROM _data_manager_admin.etl_context k
              WHERE k.root_context_id IS NULL ORDER BY k.context_id LIMIT :most) n) r
  WHERE c.context_id = r.context_id
