-- read_queue_samples: the most that was in each queue, in each piece of a time.
-- In:    since timestamptz; width double: seconds of a piece
-- Out:   queue; piece int, from 0; queued, running, age (seconds)
-- Locks: none
SELECT s.queue, floor(extract(epoch FROM s.at - %(since)s::timestamptz) / %(width)s::double precision)::int AS piece,
       max(s.queued), max(s.running), max(s.age)
  FROM _data_manager_admin.queue_sample s
  WHERE s.at >= %(since)s::timestamptz
  GROUP BY 1, 2 ORDER BY 1, 2
