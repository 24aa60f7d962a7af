-- find_bad_rows: the rules that a row of flights must keep, and where they are broken.
-- In:    flights and airlines of the staging schema
-- Out:   one row per month and broken rule, with up to three examples; none when all is well
-- Locks: none
--
-- Each rule says what must hold. NULL does not hold, so a rule says itself where NULL is fine.

WITH broken AS (
    SELECT 'distance is positive' AS rule, flights.*
    FROM flights
    WHERE (distance > 0) IS NOT TRUE
    UNION ALL
    SELECT 'origin and dest differ', flights.*
    FROM flights
    WHERE (origin <> dest) IS NOT TRUE
    UNION ALL
    SELECT 'carrier is a known airline', flights.*
    FROM flights
    WHERE (carrier IN (SELECT airlines.carrier FROM airlines)) IS NOT TRUE
    UNION ALL
    SELECT 'sched_dep_time is hour and minute', flights.*
    FROM flights
    WHERE (sched_dep_time = hour * 100 + minute) IS NOT TRUE
    UNION ALL
    SELECT 'time_hour is the local hour in New York', flights.*
    FROM flights
    WHERE (
        time_hour AT TIME ZONE 'America/New_York' = make_timestamp(year, month, day, hour, 0, 0)
    ) IS NOT TRUE
    UNION ALL
    SELECT 'dep_delay comes with dep_time', flights.*
    FROM flights
    WHERE ((dep_delay IS NULL) = (dep_time IS NULL)) IS NOT TRUE
    UNION ALL
    SELECT 'arr_delay comes with air_time', flights.*
    FROM flights
    WHERE ((arr_delay IS NULL) = (air_time IS NULL)) IS NOT TRUE
    UNION ALL
    SELECT 'arr_time comes after a dep_time', flights.*
    FROM flights
    WHERE (arr_time IS NULL OR dep_time IS NOT NULL) IS NOT TRUE
)

SELECT
    month,
    rule,
    count(*) AS rows,
    (array_agg(
        format(
            '%s %s of %s %s:00 UTC, %s-%s, %s miles',
            carrier, flight, (time_hour AT TIME ZONE 'UTC')::date,
            extract(hour FROM time_hour AT TIME ZONE 'UTC'), origin, dest, distance
        )
        ORDER BY time_hour, carrier, flight, origin
    ))[1:3] AS examples
FROM broken
GROUP BY month, rule
ORDER BY month, rule
