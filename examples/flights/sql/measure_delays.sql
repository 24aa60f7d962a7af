-- measure_delays: how late the departures are: all, by carrier, by airport, by month.
-- In:    departures of the staging schema
-- Out:   one row per group: which grouping it belongs to, then the columns of Delays
-- Locks: none
--
-- Means of integers are exact numerics here, so the order of the rows cannot change a digit.

SELECT
    CASE 0
        WHEN grouping(carrier) THEN 'carrier'
        WHEN grouping(origin) THEN 'airport'
        WHEN grouping(month) THEN 'month'
        ELSE 'all'
    END AS grouping,
    coalesce(carrier, origin, month::text, 'all') AS name,
    count(*) AS departures,
    count(*) - count(dep_time) AS cancelled,
    round(avg(dep_delay), 2)::double precision AS mean_dep_delay,
    round(avg(arr_delay), 2)::double precision AS mean_arr_delay
FROM departures
GROUP BY GROUPING SETS ((), (carrier), (origin), (month))
ORDER BY month, carrier COLLATE "C", origin COLLATE "C"
