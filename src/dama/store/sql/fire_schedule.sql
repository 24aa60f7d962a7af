-- fire_schedule: start what is due, once; see functions/schedules.sql.
-- In:    name text; seen timestamptz; batch text, JSON; latest, following timestamptz; missed int
-- Out:   the contexts that were started; NULL when somebody else came first
-- Locks: the row of the schedule
SELECT _data_manager_admin.fire_schedule(
  %(name)s::text, %(seen)s::timestamptz, %(batch)s::text::jsonb, %(latest)s::timestamptz,
  %(following)s::timestamptz, %(missed)s::int)
