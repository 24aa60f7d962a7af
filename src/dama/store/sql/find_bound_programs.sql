-- find_bound_programs: which program some contexts still belong to, wherever it was started.
-- In:    contexts bigint[]
-- Out:   context_id, program_epoch; nothing for contexts that have ended or have no program
-- Locks: none
SELECT context_id, program_epoch FROM _data_manager_admin.run_queue
  WHERE context_id = ANY (%(contexts)s::bigint[]) AND program_epoch IS NOT NULL
