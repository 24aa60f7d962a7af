-- later_contexts: a batch of contexts of the later generation is copied, with the parents that it names.
-- In:    :batch: their ids; :created, :modified: the times of an old row o
-- Out:   the last context of the batch, and how many there were; no row at the end
-- Locks: none that a writer of the old tables meets
WITH RECURSIVE batch AS MATERIALIZED (
  :batch),
span AS (SELECT max(b.id) AS last, count(*) AS count FROM batch b),
wanted AS (
  SELECT b.id FROM batch b
  UNION
  SELECT o.parent_context_id::bigint FROM wanted w JOIN data_manager.etl_contexts o ON o.etl_context_id = w.id
    WHERE o.parent_context_id IS NOT NULL),
copied AS (
  INSERT INTO _data_manager_admin.etl_context (context_id, parent_id, root_context_id, created_at, modified_at)
  SELECT w.id, o.parent_context_id, (
           WITH RECURSIVE up AS (
             SELECT w.id AS id, o.parent_context_id::bigint AS parent
             UNION
             SELECT p.etl_context_id, p.parent_context_id FROM up JOIN data_manager.etl_contexts p ON p.etl_context_id = up.parent)
           SELECT coalesce(min(coalesce(CASE WHEN p.etl_context_id IS NULL THEN u.parent END, u.id))
                             FILTER (WHERE u.parent IS NULL OR p.etl_context_id IS NULL), min(u.id))
             FROM up u LEFT JOIN data_manager.etl_contexts p ON p.etl_context_id = u.parent),
         coalesce(:created, to_timestamp(0)), coalesce(:modified, :created, to_timestamp(0))
    FROM wanted w LEFT JOIN data_manager.etl_contexts o ON o.etl_context_id = w.id
    WHERE NOT EXISTS (SELECT FROM _data_manager_admin.etl_context c WHERE c.context_id = w.id))
SELECT x.last, x.count FROM span x WHERE x.last IS NOT NULL
