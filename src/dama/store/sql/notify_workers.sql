-- notify_workers: a hint that something changed in the queue. Polling stays the truth.
-- In:    nothing
-- Out:   one row, empty
-- Locks: the one of NOTIFY, at commit; so it is sent by itself, and seldom
SELECT pg_notify('dama_queue', '')
