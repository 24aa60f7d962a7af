-- poll_log: sequence what was committed; see functions/sequence_log.sql.
-- In:    nothing
-- Out:   one row: the last position; behind text[]: subscriptions with something to handle
-- Locks: an advisory lock that nobody waits for
SELECT last_position, behind FROM _data_manager_admin.poll_log()
