// Keys: single ones, never while something is filled in.

import { chooseTo } from "./choose.js";
import { pause } from "./live.js";
import { play, step } from "./scrubber.js";
import { change } from "./zone.js";

let isGoing = false;

/** Take keys. */
export function listen() {
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented) return;
    const target = /** @type {Element} */ (event.target);
    if (target.closest("input:not([type=checkbox]), select, textarea, [contenteditable]")) {
      if (event.key === "Escape") /** @type {HTMLElement} */ (target).blur();
      return;
    }
    if (act(event.key, target, event.repeat)) event.preventDefault();
  });
}

/** @param {string} key @param {Element} target @param {boolean} isHeld */
function act(key, target, isHeld) {
  if (isGoing) {
    isGoing = false;
    return click(`[data-go="${CSS.escape(key)}"]`);
  }
  switch (key) {
    case "g":
      return (isGoing = true);
    case "j":
      return move(1);
    case "k":
      return move(-1);
    case "Enter":
      return target.closest("a, button, summary, input") ? false : click("tr.here a");
    case "x":
      return click("tr.here input[type=checkbox]");
    case "X":
      return chooseTo();
    case "/":
      return focus(".filters input");
    case "[":
      return step("previous", isHeld);
    case "]":
      return step("next", isHeld);
    case "{":
      return step("mark-before", isHeld);
    case "}":
      return step("mark-after", isHeld);
    case " ":
      return target.closest("a, button, summary, input") ? false : play();
    case "f":
      return click('[data-act="failures"]');
    case ".":
      return step("live");
    case "p":
      pause();
      return true;
    case "y":
      navigator.clipboard?.writeText(location.href);
      return true;
    case "?":
      location.assign(`${document.documentElement.dataset.base ? `/${document.documentElement.dataset.base}` : ""}/settings#list-of-keys`);
      return true;
    case "c":
      return click('[data-act="cancel"]');
    case "r":
      return click('[data-act="resume"]');
    case "e":
      return click('[data-act="emit"]');
    case "F":
      return click('[data-act="fork"]');
    case "u":
      return click("main [data-up]") || click('.top [aria-current="page"]');
    case "z":
      change();
      return true;
    default:
      return /^[1-9]$/.test(key) && click(`[data-tab="${key}"]`);
  }
}

/** @param {number} by */
function move(by) {
  const rows = [...document.querySelectorAll("tr[data-row]")];
  if (!rows.length) return false;
  const now = rows.findIndex((row) => row.classList.contains("here"));
  const next = Math.min(Math.max(now + by, 0), rows.length - 1);
  rows[now]?.classList.remove("here");
  rows[next].classList.add("here");
  rows[next].scrollIntoView({ block: "nearest" });
  /** @type {HTMLElement | null} */ (rows[next].querySelector("a"))?.focus({ preventScroll: true });
  return true;
}

/** @param {string} selector */
function click(selector) {
  const found = /** @type {HTMLElement | null} */ (document.querySelector(selector));
  found?.click();
  const form = found?.closest("details[open]")?.querySelector("form");
  if (form) /** @type {HTMLElement | null} */ (form.querySelector("input:not([type=hidden])"))?.focus();
  return Boolean(found);
}

/** @param {string} selector */
function focus(selector) {
  const found = /** @type {HTMLElement | null} */ (document.querySelector(selector));
  found?.focus();
  return Boolean(found);
}
