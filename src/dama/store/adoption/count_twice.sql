-- count_twice: how many ids of events are there once more.
-- In:    :events: the table
-- Out:   a number
-- Locks: none
SELECT count(e.event_id) - count(DISTINCT e.event_id) FROM :events e
