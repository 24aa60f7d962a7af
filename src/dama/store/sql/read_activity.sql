-- read_activity: what happened in each piece of a time.
-- In:    since timestamptz; width double: seconds of a piece
-- Out:   piece int, from 0; outcome; bucket; count
-- Locks: none
SELECT floor(extract(epoch FROM m.at - %(since)s::timestamptz) / %(width)s::double precision)::int AS piece,
       m.outcome, m.bucket, sum(m.count)::bigint
  FROM _data_manager_admin.activity_count m
  WHERE m.at >= %(since)s::timestamptz
  GROUP BY 1, 2, 3
