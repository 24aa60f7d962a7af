-- list_act_contexts: the contexts that hold the acts of people, the latest first.
-- In:    nothing
-- Out:   context_id
-- Locks: none
SELECT c.context_id
  FROM _data_manager_admin.act_context a JOIN _data_manager_admin.etl_context c USING (context_id)
  ORDER BY a.year DESC
