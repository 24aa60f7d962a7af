// Lists of which the newest row is the first: whoever reads further down keeps what they read,
// and is told how many rows came meanwhile.

import { isAwayFromEnd, showEnds } from "./ends.js";

const ROWS = "tr[id]";

/** Whether a list stays as it is, because new rows would take away what is looked at or used.
 * @param {Element} region
 * @param {Element} fresh
 * @param {() => void} refresh
 */
export function holds(region, fresh, refresh) {
  const log = region.querySelector("pre[data-end]");
  if (log) {
    const isHeld = isAwayFromEnd(region);
    const isLonger = log.textContent !== fresh.querySelector("pre[data-end]")?.textContent;
    if (!isHeld) clear();
    else if (isLonger) say(region, "More was printed", refresh);
    return isHeld;
  }
  if (!region.hasAttribute("data-newest") || !fresh.hasAttribute("data-newest")) return false;
  const first = region.querySelector(ROWS);
  const known = new Set([...fresh.querySelectorAll(ROWS)].map((row) => row.id));
  const isAway = Boolean(first && first.getBoundingClientRect().bottom < 0);
  if (!isAway && used(region).every((row) => known.has(row.id))) {
    clear();
    return false;
  }
  const had = new Set([...region.querySelectorAll(ROWS)].map((row) => row.id));
  const count = [...known].filter((id) => !had.has(id)).length;
  if (count) say(region, count < known.size ? `${count} new` : `${count} or more new`, refresh);
  return true;
}

/** Say no more that rows came. */
export function clear() {
  document.getElementById("news")?.remove();
}

/** The rows that somebody stands on or has opened.
 * @param {Element} region
 */
function used(region) {
  return [...region.querySelectorAll(ROWS)].filter(
    (row) => row.classList.contains("here") || row.contains(document.activeElement) || row.querySelector("details[open]"),
  );
}

/** @param {Element} region @param {string} text @param {() => void} refresh */
function say(region, text, refresh) {
  let button = /** @type {HTMLButtonElement | null} */ (document.getElementById("news"));
  if (!button) {
    button = Object.assign(document.createElement("button"), { id: "news", type: "button" });
    button.addEventListener("click", () => {
      leave(region);
      clear();
      if (region.hasAttribute("data-newest")) region.scrollIntoView({ block: "start" });
      refresh();
    });
    region.before(button);
  }
  if (button.textContent !== text) button.textContent = text;
}

/** @param {Element} region */
function leave(region) {
  showEnds(region);
  for (const row of used(region)) {
    row.classList.remove("here");
    row.querySelector("details[open]")?.removeAttribute("open");
  }
}
