-- find_locked: which of some contexts another transaction has locked at this moment.
-- In:    context_ids bigint[]
-- Out:   context_id of each
-- Locks: the rows of the others, until the end of the statement
WITH free AS (
  SELECT c.context_id FROM _data_manager_admin.etl_context c
    WHERE c.context_id = ANY (%(context_ids)s::bigint[]) FOR NO KEY UPDATE SKIP LOCKED)
SELECT c.context_id FROM _data_manager_admin.etl_context c
  WHERE c.context_id = ANY (%(context_ids)s::bigint[]) AND c.context_id NOT IN (SELECT f.context_id FROM free f)
