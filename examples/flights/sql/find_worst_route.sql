-- find_worst_route: the route whose flights arrive latest on average.
-- In:    departures of the staging schema
-- Out:   one row, the columns of Route; none when no route has 100 arrivals
-- Locks: none

SELECT
    origin,
    dest,
    count(arr_delay) AS arrivals,
    round(avg(arr_delay), 2)::double precision AS mean_arr_delay
FROM departures
GROUP BY origin, dest
HAVING count(arr_delay) >= 100
ORDER BY avg(arr_delay) DESC, origin COLLATE "C", dest COLLATE "C"
LIMIT 1
