-- take_place: programs that an older version bound to the name of a host belong to a place of it.
-- In:    contexts, epochs bigint[]: the programs that have their files there; host, place text
-- Out:   one row for each that was bound to the host
-- Locks: the rows of the runs
UPDATE _data_manager_admin.run_queue q SET host = %(place)s
  FROM unnest(%(contexts)s::bigint[], %(epochs)s::bigint[]) AS there (context_id, epoch)
  WHERE q.context_id = there.context_id AND q.program_epoch = there.epoch AND q.host = %(host)s
  RETURNING q.context_id
