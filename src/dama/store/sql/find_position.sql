-- find_position: where an event is in the log.
-- In:    event_id bigint
-- Out:   position; none when it has none yet
-- Locks: none
SELECT position FROM _data_manager_admin.event_log WHERE event_id = %(event_id)s::bigint
