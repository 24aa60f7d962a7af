-- is_running: whether the run that a token was made for is still the one of its context.
-- In:    context_id bigint; epoch bigint
-- Out:   one row when it is: also while no worker follows its program, and when a later run adopted it
-- Locks: none
SELECT 1
  FROM _data_manager_admin.run_queue q
  JOIN _data_manager_admin.etl_context c USING (context_id)
  WHERE q.context_id = %(context_id)s::bigint AND c.status = 'OPEN' AND q.state <> 'retrying'
    AND %(epoch)s::bigint IN (c.epoch, q.program_epoch)
