-- add_schedule: a new schedule.
-- In:    name, task, cron, zone, params (JSON), catch_up, overlap text; jitter double; next_at
--        act text: the event of the act as JSON, or NULL
-- Out:   its name; no row when there is one of this name
-- Locks: the context of the act
INSERT INTO _data_manager_admin.schedule
  (name, task, cron, zone, params, catch_up, overlap, jitter, next_at)
VALUES (%(name)s, %(task)s, %(cron)s, %(zone)s, %(params)s::text::jsonb, %(catch_up)s, %(overlap)s,
        %(jitter)s::double precision, %(next_at)s::timestamptz)
ON CONFLICT (name) DO NOTHING
RETURNING name, _data_manager_admin.keep_act(%(act)s::text::jsonb)
