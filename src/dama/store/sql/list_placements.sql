-- list_placements: what a launcher has placed and not heard the end of.
-- In:    launcher text; lease interval: of the workers that it starts
-- Out:   one row each: context_id, epoch, name, element, task, native_id, state, reason, node, submissions, age (seconds
--        since it was placed), run (the state of the run; NULL when it has ended, or a later epoch has it), quiet (seconds
--        since the worker of a running one was heard of; NULL where there is none)
-- Locks: none
SELECT p.context_id, p.epoch, p.name, p.element, p.task, p.native_id, p.state, p.reason, p.node, p.submissions,
       extract(epoch FROM clock_timestamp() - p.placed_at)::double precision, q.state,
       extract(epoch FROM clock_timestamp() - (w.lease_until - %(lease)s::interval))::double precision
  FROM _data_manager_admin.placement p
  LEFT JOIN _data_manager_admin.run_queue q ON q.context_id = p.context_id AND q.epoch = p.epoch
  LEFT JOIN _data_manager_admin.worker w ON w.worker_id = q.worker_id
  WHERE p.launcher = %(launcher)s::text
  ORDER BY p.context_id, p.epoch
