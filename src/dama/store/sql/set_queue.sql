-- set_queue: pause, resume or limit a queue; what is NULL stays as it was, 0 takes a limit away.
-- In:    queue text; paused boolean; concurrency int; rate double precision; by, act text: who does it; the event
--        of the act as JSON or NULL
-- Out:   the context of the act
-- Locks: the row of the queue; the context of the act
INSERT INTO _data_manager_admin.queue_setting AS s (queue, paused, concurrency, rate, allowance, paused_by, paused_at)
VALUES (%(queue)s, coalesce(%(paused)s::boolean, FALSE), nullif(%(concurrency)s::int, 0),
        nullif(%(rate)s::double precision, 0), coalesce(greatest(%(rate)s::double precision, 1), 0),
        CASE WHEN %(paused)s::boolean THEN %(by)s::text END, CASE WHEN %(paused)s::boolean THEN clock_timestamp() END)
ON CONFLICT (queue) DO UPDATE SET
  -- Who paused it first, until it is resumed.
  paused_by = CASE WHEN s.paused AND %(paused)s::boolean IS NOT FALSE THEN s.paused_by ELSE excluded.paused_by END,
  paused_at = CASE WHEN s.paused AND %(paused)s::boolean IS NOT FALSE THEN s.paused_at ELSE excluded.paused_at END,
  paused = coalesce(%(paused)s::boolean, s.paused),
  concurrency = nullif(coalesce(%(concurrency)s::int, s.concurrency), 0),
  rate = nullif(coalesce(%(rate)s::double precision, s.rate), 0)
RETURNING _data_manager_admin.keep_act(%(act)s::text::jsonb)
