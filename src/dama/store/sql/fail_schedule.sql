-- fail_schedule: pause a schedule whose firing cannot be started, unless it was replaced meanwhile.
-- In:    name, task text; params text, JSON; seen timestamptz, all as they were read; failure text
-- Out:   its name; no row when it is another one by now, or gone
-- Locks: the row of the schedule
UPDATE _data_manager_admin.schedule
  SET paused = TRUE, failure = %(failure)s::text
  WHERE name = %(name)s::text AND task = %(task)s::text AND params = %(params)s::text::jsonb
    AND next_at = %(seen)s::timestamptz
  RETURNING name
