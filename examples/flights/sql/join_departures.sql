-- join_departures: every flight with the weather at its hour and the plane that flew it.
-- In:    flights, weather and planes of the staging schema
-- Out:   the table departures, as many rows as flights, one a key
-- Locks: none that others see: the schema belongs to one run

CREATE TABLE departures AS
SELECT
    flights.*,
    weather.temp,
    weather.humid,
    weather.wind_dir,
    weather.wind_speed,
    weather.precip,
    weather.pressure,
    weather.visib,
    planes.year AS plane_year,
    planes.manufacturer,
    planes.model,
    planes.seats,
    weather.origin IS NOT NULL AS has_weather,
    planes.tailnum IS NOT NULL AS has_plane
FROM flights
LEFT JOIN weather USING (origin, time_hour)
LEFT JOIN planes USING (tailnum);

ALTER TABLE departures ADD PRIMARY KEY (time_hour, carrier, flight, origin);

ANALYZE departures;
