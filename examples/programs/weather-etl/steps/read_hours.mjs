// Extract: the hours of the file that are in the range.

import { createReadStream } from 'node:fs';
import { createInterface } from 'node:readline';

const numberOf = (text) => (text === '' ? null : Number(text));

/** The hours from start_timestamp up to, and without, end_timestamp; of some airports or of all. */
export async function readHours(file, { start_timestamp, end_timestamp, origin }) {
  const lines = createInterface({ input: createReadStream(file), crlfDelay: Infinity });
  const hours = [];
  let names = null;
  for await (const line of lines) {
    const cells = line.split(',');
    if (names === null) {
      names = cells;
      continue;
    }
    const hour = Object.fromEntries(names.map((name, i) => [name, cells[i]]));
    const at = hour.time_hour.replace('Z', '');
    if (at < start_timestamp || at >= end_timestamp) continue;
    if (origin && !origin.includes(hour.origin)) continue;
    hours.push({
      origin: hour.origin,
      day: at.slice(0, 10),
      temp: numberOf(hour.temp),
      wind_speed: numberOf(hour.wind_speed),
      precip: numberOf(hour.precip),
    });
  }
  return hours;
}
