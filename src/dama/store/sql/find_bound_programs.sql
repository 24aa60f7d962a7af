-- find_bound_programs: which of some contexts still belong to the program that a host has of them.
-- In:    contexts bigint[]; host text
-- Out:   context_id, program_epoch; nothing for contexts that have ended or belong to others
-- Locks: none
SELECT context_id, program_epoch FROM _data_manager_admin.run_queue
  WHERE context_id = ANY (%(contexts)s::bigint[]) AND host = %(host)s
