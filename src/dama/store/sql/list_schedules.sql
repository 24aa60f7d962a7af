-- list_schedules: the schedules, or the one of a name.
-- In:    name text or NULL
-- Out:   name, task, cron, zone, params, catch_up, overlap, jitter, paused, next_at, last_at, started,
--        skipped, failure; by name
-- Locks: none
SELECT name, task, cron, zone, params::text, catch_up, overlap, jitter, paused, next_at, last_at, started,
       skipped, failure
  FROM _data_manager_admin.schedule
  WHERE name = %(name)s::text OR %(name)s::text IS NULL
  ORDER BY name
