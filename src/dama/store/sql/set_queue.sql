-- set_queue: pause, resume or limit a queue; what is NULL stays as it was, 0 takes a limit away.
-- In:    queue text; paused boolean; concurrency int; rate double precision
-- Out:   nothing
-- Locks: the row of the queue
INSERT INTO _data_manager_admin.queue_setting AS s (queue, paused, concurrency, rate, allowance)
VALUES (%(queue)s, coalesce(%(paused)s::boolean, FALSE), nullif(%(concurrency)s::int, 0),
        nullif(%(rate)s::double precision, 0), coalesce(greatest(%(rate)s::double precision, 1), 0))
ON CONFLICT (queue) DO UPDATE SET
  paused = coalesce(%(paused)s::boolean, s.paused),
  concurrency = nullif(coalesce(%(concurrency)s::int, s.concurrency), 0),
  rate = nullif(coalesce(%(rate)s::double precision, s.rate), 0)
