-- read_clock: what time it is, by the clock that all share.
-- In:    nothing
-- Out:   one row: now
-- Locks: none
SELECT clock_timestamp()
