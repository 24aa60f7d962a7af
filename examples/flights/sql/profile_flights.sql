-- profile_flights: the rows of each month: how many, what is missing, how far the values reach.
-- In:    flights of the staging schema
-- Out:   one row per month, in order
-- Locks: none

SELECT
    month,
    count(*) AS rows,
    count(*) - count(dep_time) AS no_dep_time,
    count(*) - count(arr_delay) AS no_arr_delay,
    count(*) - count(tailnum) AS no_tailnum,
    to_char(min(time_hour) AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"') AS first_hour,
    to_char(max(time_hour) AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"') AS last_hour,
    min(dep_delay) AS least_dep_delay,
    max(dep_delay) AS most_dep_delay,
    min(distance) AS least_distance,
    max(distance) AS most_distance
FROM flights
GROUP BY month
ORDER BY month
