-- count_memory_losses: how often the jobs of contexts had too little memory and were asked for again with more.
-- In:    contexts bigint[]
-- Out:   one row for each context that had: context_id, count
-- Locks: none
SELECT c.context_id, n.losses
  FROM unnest(%(contexts)s::bigint[]) c (context_id)
  CROSS JOIN LATERAL (SELECT _data_manager_admin.memory_losses(c.context_id) AS losses) n
  WHERE n.losses > 0
