-- count_placements: how many runs each launcher has placed, and what the engine says of them.
-- In:    nothing
-- Out:   launcher, state (as the engine said last; 'unknown' before it has), reason (NULL: none), runs
-- Locks: none
SELECT p.launcher, coalesce(p.state, 'unknown'), CASE WHEN p.state = 'pending' THEN p.reason END, count(*)
  FROM _data_manager_admin.placement p
  JOIN _data_manager_admin.run_queue q ON q.context_id = p.context_id AND q.epoch = p.epoch
  WHERE q.state IN ('placed', 'running')
  GROUP BY 1, 2, 3 ORDER BY 1, 2, 3
