-- time: the time that an event says of itself, s.said, where it is one beyond doubt: ISO 8601 with a zone, as JavaScript
-- and Python write it, or milliseconds. By characters: a regular expression would cost as much as all the rest.
CASE
  WHEN translate(s.said, '123456789', '000000000') IN (
       '0000-00-00T00:00:00Z', '0000-00-00T00:00:00+00', '0000-00-00T00:00:00-00', '0000-00-00T00:00:00+00:00', '0000-00-00T00:00:00-00:00',
       '0000-00-00T00:00:00.000Z', '0000-00-00T00:00:00.000+00', '0000-00-00T00:00:00.000-00', '0000-00-00T00:00:00.000+00:00', '0000-00-00T00:00:00.000-00:00',
       '0000-00-00T00:00:00.000000Z', '0000-00-00T00:00:00.000000+00', '0000-00-00T00:00:00.000000-00', '0000-00-00T00:00:00.000000+00:00', '0000-00-00T00:00:00.000000-00:00',
       '0000-00-00 00:00:00Z', '0000-00-00 00:00:00+00', '0000-00-00 00:00:00-00', '0000-00-00 00:00:00+00:00', '0000-00-00 00:00:00-00:00',
       '0000-00-00 00:00:00.000Z', '0000-00-00 00:00:00.000+00', '0000-00-00 00:00:00.000-00', '0000-00-00 00:00:00.000+00:00', '0000-00-00 00:00:00.000-00:00',
       '0000-00-00 00:00:00.000000Z', '0000-00-00 00:00:00.000000+00', '0000-00-00 00:00:00.000000-00', '0000-00-00 00:00:00.000000+00:00', '0000-00-00 00:00:00.000000-00:00')
  THEN CASE
    WHEN s.said >= '1970' AND s.said < '2100' AND substr(s.said, 6, 5) BETWEEN '01-01' AND '12-31'
     AND substr(s.said, 9, 2) BETWEEN '01' AND CASE
           WHEN substr(s.said, 9, 2) < '29' THEN '28'
           WHEN substr(s.said, 6, 2) IN ('04', '06', '09', '11') THEN '30' WHEN substr(s.said, 6, 2) <> '02' THEN '31'
           WHEN left(s.said, 4)::int % 4 = 0 THEN '29' ELSE '28' END
     AND substr(s.said, 12, 2) < '24' AND substr(s.said, 15, 2) < '60' AND substr(s.said, 18, 2) < '60'
     AND (s.said LIKE '%Z' OR CASE WHEN right(s.said, 3) LIKE ':%' THEN left(right(s.said, 5), 2) < '15' AND right(s.said, 2) < '60' ELSE right(s.said, 2) < '15' END)
    THEN s.said::timestamptz END
  WHEN translate(s.said, '123456789', '000000000') IN ('000000000000', '0000000000000') THEN to_timestamp(s.said::bigint / 1000.0)
END
