// Load: days that are there already are replaced, in one transaction, through the program psql.
//
// psql is found on PATH, or where PSQL says.

import { spawn } from 'node:child_process';
import { writeFile } from 'node:fs/promises';

const COLUMNS = ['origin', 'day', 'hours', 'mean_temp', 'max_wind', 'precip'];
const REFUSED = 2; // psql: the connection could not be made

const CREATE = `
CREATE TABLE IF NOT EXISTS weather_days (
    origin    text NOT NULL,
    day       date NOT NULL,
    hours     int NOT NULL,
    mean_temp numeric,
    max_wind  numeric,
    precip    numeric NOT NULL,
    PRIMARY KEY (origin, day)
);
`;

const csvOf = (days) =>
  days.map((day) => COLUMNS.map((name) => day[name] ?? '').join(',')).join('\n');

export function writeDays(file, days) {
  return writeFile(file, `${COLUMNS.join(',')}\n${csvOf(days)}\n`);
}

/** Replace the days; returns the exit code of psql, its words, and whether there was a connection. */
export function loadDays(days, environment) {
  const script = `
    BEGIN;
    ${CREATE}
    CREATE TEMP TABLE arriving (LIKE weather_days) ON COMMIT DROP;
    COPY arriving FROM STDIN (FORMAT csv);
${csvOf(days)}
\\.
    DELETE FROM weather_days AS old USING arriving
    WHERE (old.origin, old.day) = (arriving.origin, arriving.day);
    INSERT INTO weather_days SELECT * FROM arriving;
    COMMIT;
  `;
  return new Promise((resolve) => {
    const psql = spawn(
      process.env.PSQL || 'psql',
      ['--no-psqlrc', '--quiet', '--set=ON_ERROR_STOP=1', '--file=-'],
      { env: { ...process.env, ...environment }, stdio: ['pipe', 'ignore', 'pipe'] },
    );
    let message = '';
    psql.stderr.on('data', (chunk) => { message += chunk; });
    psql.on('error', (error) => resolve({ code: 1, connected: false, message: String(error) }));
    psql.on('close', (code) => resolve({ code, connected: code !== REFUSED, message }));
    psql.stdin.on('error', () => {}); // psql ended early; its exit code says why
    psql.stdin.end(script);
  });
}
