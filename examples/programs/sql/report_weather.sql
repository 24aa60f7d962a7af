-- Load the hours and report on them, in psql alone (15 or newer, for \getenv).
-- What it tells goes to stdout, as lines that begin with ::dama::.

\set ON_ERROR_STOP on
\pset tuples_only on
\pset format unaligned
\pset footer off
SET client_min_messages = warning;
\getenv result DAMA_RESULT
\getenv artifacts DAMA_ARTIFACTS
\set state `cat "${DAMA_STATE:-/dev/null}"`

SELECT coalesce(nullif(:'state', '')::jsonb -> 'steps' ? 'hours', false) AS has_hours \gset

\if :has_hours
\echo 'the hours were loaded before'
\else
BEGIN;
DROP TABLE IF EXISTS weather_hours;
CREATE TABLE weather_hours (
    origin text, time_hour timestamptz, temp numeric, wind_speed numeric, precip numeric,
    visib numeric
);
\copy weather_hours FROM 'data/weather.csv' (FORMAT csv, HEADER)
COMMIT;
SELECT '::dama:: ' || json_build_object(
    'type', '/hours:DONE', 'payload', json_build_object('rows', count(*))
) FROM weather_hours;
\endif
SELECT '::dama:: {"type": ":PROGRESS", "payload": {"done": 1, "total": 2}}';

\if :{?artifacts}
\set report :artifacts /report.csv
\pset format csv
\pset tuples_only off
SELECT origin, count(*) AS hours, round(avg(temp), 2) AS mean_temp
FROM weather_hours
WHERE origin = ANY (string_to_array(:'origins', ','))
GROUP BY origin ORDER BY origin \g :report
\pset tuples_only on
\pset format unaligned
SELECT '::dama:: {"type": ":ARTIFACT", "payload": {"path": "report.csv"}}';
\endif
SELECT '::dama:: {"type": ":PROGRESS", "payload": {"done": 2, "total": 2}}';

\if :{?result}
SELECT json_build_object('hours', count(*), 'mean_temp', round(avg(temp), 2))
FROM weather_hours
WHERE origin = ANY (string_to_array(:'origins', ',')) \g :result
\endif
