-- begin_import: the right to import, to the end of the transaction.
-- In:    nothing
-- Out:   nothing
-- Locks: who imports takes turns
SELECT _data_manager_admin.be_owner(), pg_advisory_xact_lock(1953653093, -1)
