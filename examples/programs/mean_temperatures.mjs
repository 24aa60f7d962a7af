#!/usr/bin/env node
// Compute the mean temperature of each airport, in one file for each.

import { appendFileSync, existsSync, mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';

const { values } = parseArgs({
  options: { out: { type: 'string' }, origin: { type: 'string', multiple: true } },
});
const { DAMA_ARTIFACTS, DAMA_EVENTS, DAMA_RESULT, DAMA_STATE } = process.env;
const origins = values.origin ?? ['EWR', 'JFK', 'LGA'];
const done = DAMA_STATE ? JSON.parse(readFileSync(DAMA_STATE, 'utf8')).steps ?? [] : [];

function emit(type, payload) {
  if (DAMA_EVENTS) appendFileSync(DAMA_EVENTS, `${JSON.stringify({ type, payload })}\n`);
}

function meanOf(origin) {
  const rows = readFileSync('data/weather.csv', 'utf8').split('\n').slice(1);
  const temps = rows
    .map((row) => row.split(','))
    .filter((cells) => cells[0] === origin && cells[2] !== '')
    .map((cells) => Number(cells[2]));
  return temps.reduce((total, temp) => total + temp, 0) / temps.length;
}

mkdirSync(values.out, { recursive: true });
const means = {};
origins.forEach((origin, i) => {
  const file = join(values.out, `${origin}.json`);
  if (!done.includes(origin) || !existsSync(file)) {
    // Renamed when it is whole: who finds the file may trust it.
    writeFileSync(`${file}.part`, JSON.stringify({ mean: Number(meanOf(origin).toFixed(2)) }));
    renameSync(`${file}.part`, file);
    emit(`/${origin}:DONE`, JSON.parse(readFileSync(file, 'utf8')));
  }
  means[origin] = JSON.parse(readFileSync(file, 'utf8')).mean;
  emit(':PROGRESS', { done: i + 1, total: origins.length, unit: 'airports' });
});

if (DAMA_ARTIFACTS) {
  writeFileSync(join(DAMA_ARTIFACTS, 'means.json'), JSON.stringify(means, null, 2));
  emit(':ARTIFACT', { path: 'means.json' });
}
if (DAMA_RESULT) writeFileSync(DAMA_RESULT, JSON.stringify(means));
else console.log(means);
