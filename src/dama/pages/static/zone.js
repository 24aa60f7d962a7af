// The time zone of all times: that of the browser, until a person chooses another one.

import { refresh } from "./live.js";

const root = document.documentElement;

/** Show times in the zone of the browser, at the first visit. */
export function adopt() {
  if (!document.cookie.includes("dama_zone=")) keep(local());
}

/** Change between the zone of the browser and UTC. */
export function change() {
  keep(root.dataset.zone === "UTC" ? local() : "UTC");
}

function local() {
  return Intl.DateTimeFormat().resolvedOptions().timeZone;
}

/** @param {string | undefined} zone */
function keep(zone) {
  if (!zone || zone === root.dataset.zone) return;
  document.cookie = `dama_zone=${encodeURIComponent(zone)}; path=/; max-age=31536000; samesite=lax`;
  refresh({ everything: true });
}
