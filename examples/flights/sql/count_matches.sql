-- count_matches: how many departures found their weather and their plane.
-- In:    departures of the staging schema
-- Out:   one row: with_weather, with_plane
-- Locks: none

SELECT
    count(*) FILTER (WHERE has_weather) AS with_weather,
    count(*) FILTER (WHERE has_plane) AS with_plane
FROM departures
