// The variables of config/postgres.NAME.env.

import { readFile } from 'node:fs/promises';

export async function readPgEnv(file) {
  const text = await readFile(file, 'utf8');
  const pairs = text
    .split(/\r?\n/)
    .map((line) => line.match(/^\s*(?:export\s+)?(\w+)\s*=\s*(['"]?)(.*?)\2\s*$/))
    .filter((found) => found !== null);
  return Object.fromEntries(pairs.map(([, name, , value]) => [name, value]));
}
