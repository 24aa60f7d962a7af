-- set_schedule: pause a schedule, or let it continue from a time.
-- In:    name text; paused boolean; next_at timestamptz or NULL (as it is)
--        act text: the event of the act as JSON, or NULL
-- Out:   its name; no row when there is none
-- Locks: the row of the schedule
UPDATE _data_manager_admin.schedule
  SET paused = %(paused)s::boolean, next_at = coalesce(%(next_at)s::timestamptz, next_at),
      failure = NULL
  WHERE name = %(name)s::text
  RETURNING name, _data_manager_admin.keep_act(%(act)s::text::jsonb)
