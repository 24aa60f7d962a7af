-- read_identity: which database this is, among all that a host may work for.
-- In:    nothing
-- Out:   one row: system_identifier, oid
-- Locks: none
SELECT c.system_identifier, d.oid FROM pg_control_system() c, pg_database d
  WHERE d.datname = current_database()
