-- count_sessions: how many others are connected to the server, in any of its databases.
-- Out:   one row: the count
-- Locks: none
SELECT count(*) FROM pg_stat_activity
  WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()
