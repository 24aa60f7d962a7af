-- forget_placements: the jobs of these runs are over.
-- In:    contexts, epochs bigint[]
-- Out:   nothing
-- Locks: rows of placement
DELETE FROM _data_manager_admin.placement p
  USING unnest(%(contexts)s::bigint[], %(epochs)s::bigint[]) s (context_id, epoch)
  WHERE p.context_id = s.context_id AND p.epoch = s.epoch
