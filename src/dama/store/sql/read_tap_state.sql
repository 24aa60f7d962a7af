-- read_tap_state: where a tap continues.
-- In:    task text; key text
-- Out:   state text: JSON; version bigint: how many commits there were; no row before the first
-- Locks: none
SELECT state, version FROM _data_manager_admin.tap_state WHERE task = %(task)s AND key = %(key)s
