// Transform: one row for each airport and day.

/** Days in the order of airport and day; what was not measured does not count. */
export function aggregateDays(hours) {
  const groups = new Map();
  for (const hour of hours) {
    const key = `${hour.origin} ${hour.day}`;
    if (!groups.has(key)) groups.set(key, []);
    groups.get(key).push(hour);
  }
  return [...groups.entries()].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, found]) => dayOf(found));
}

function dayOf(hours) {
  const values = (name) => hours.map((hour) => hour[name]).filter((value) => value !== null);
  const temps = values('temp');
  const winds = values('wind_speed');
  const sum = (numbers) => numbers.reduce((total, number) => total + number, 0);
  return {
    origin: hours[0].origin,
    day: hours[0].day,
    hours: hours.length,
    mean_temp: temps.length ? (sum(temps) / temps.length).toFixed(2) : null,
    max_wind: winds.length ? Math.max(...winds).toFixed(1) : null,
    precip: sum(values('precip')).toFixed(2),
  };
}
