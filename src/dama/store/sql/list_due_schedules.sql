-- list_due_schedules: those whose next firing has come.
-- In:    tasks text[]: only of these
-- Out:   as list_schedules; the longest overdue first
-- Locks: none
SELECT name, task, cron, zone, params::text, catch_up, overlap, jitter, paused, next_at, last_at, started,
       skipped, failure
  FROM _data_manager_admin.schedule
  WHERE NOT paused AND next_at <= clock_timestamp() AND task = ANY (%(tasks)s::text[])
  ORDER BY next_at LIMIT 100
