#!/usr/bin/env node
// Aggregate the hourly weather by airport and day, and load it into PostgreSQL.
//
// An ETL as it has been run by hand and by cron for years: it knows nothing of dama.
//
//   node run.mjs --pg_env local --start_timestamp 2013-01-01T00:00:00 --end_timestamp 2013-01-08T00:00:00
//
// The database is that of config/postgres.NAME.env, or of the PG* variables without --pg_env.
// With --csv FILE nothing is loaded. Exit codes: 64 wrong usage, 65 no data, 75 no database.

import { parseArgs } from 'node:util';
import { fileURLToPath } from 'node:url';

import { readHours } from './steps/read_hours.mjs';
import { aggregateDays } from './steps/aggregate_days.mjs';
import { loadDays, writeDays } from './steps/load_days.mjs';
import { readPgEnv } from './steps/pg_env.mjs';

const here = (path) => fileURLToPath(new URL(path, import.meta.url));

const OPTIONS = {
  pg_env: { type: 'string' },
  start_timestamp: { type: 'string' },
  end_timestamp: { type: 'string' },
  origin: { type: 'string', multiple: true },
  csv: { type: 'string' },
};

// One JSON object a line, for the tools that read the logs of this team.
function log(step, fields) {
  console.log(JSON.stringify({ time: new Date().toISOString(), step, ...fields }));
}

function fail(code, message) {
  console.error(message);
  process.exit(code);
}

function readOptions() {
  let values;
  try {
    ({ values } = parseArgs({ options: OPTIONS }));
  } catch (error) {
    fail(64, error.message);
  }
  for (const name of ['start_timestamp', 'end_timestamp']) {
    if (Number.isNaN(Date.parse(`${values[name]}Z`))) fail(64, `--${name} is not a timestamp`);
  }
  return values;
}

async function main() {
  const options = readOptions();
  log('start', options);

  const hours = await readHours(here('../data/weather.csv'), options);
  log('extract', { hours: hours.length });
  if (hours.length === 0) fail(65, 'there is no hour in this range');

  const days = aggregateDays(hours);
  log('aggregate', { days: days.length });

  if (options.csv) {
    await writeDays(options.csv, days);
    log('write', { file: options.csv });
  } else {
    const environment = options.pg_env
      ? await readPgEnv(here(`config/postgres.${options.pg_env}.env`))
      : {};
    const loaded = await loadDays(days, environment);
    if (loaded.code !== 0) fail(loaded.connected ? 1 : 75, loaded.message);
    log('load', { table: 'weather_days', days: days.length });
  }
  log('done', {});
}

await main();
