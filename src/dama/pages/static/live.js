// Live: the server says that something changed, and the page asks for itself again.
// Only its regions are taken over. A hidden page holds no stream, unless a notification is waited for.

import { morph } from "./morph.js";
import { isWaited, tell } from "./notify.js";

const policy = window.trustedTypes?.createPolicy("dama", { createHTML: (text) => text });
const stale = document.getElementById("stale");
let tag = "";
let asking = /** @type {AbortController | null} */ (null);
let source = /** @type {EventSource | null} */ (null);
let isPaused = false;
let isWanted = false;

/** Ask for a page and take its regions over.
 * @param {{address?: string, everything?: boolean}} options
 */
export async function refresh({ address = location.href, everything = false } = {}) {
  asking?.abort();
  const mine = (asking = new AbortController());
  try {
    const headers = tag && !everything && address === location.href ? { "If-None-Match": tag } : {};
    const answer = await fetch(address, { headers, signal: mine.signal, redirect: "follow", cache: "no-store" });
    if (answer.status === 304) return mark("");
    if (new URL(answer.url).pathname === "/login") return location.reload();
    if (!answer.ok) return mark(`not up to date: ${answer.status}`);
    const text = await answer.text();
    tag = answer.headers.get("etag") ?? "";
    take(text, everything);
    if (address !== location.href) history.replaceState(null, "", address);
    mark("");
  } catch (error) {
    if (!(error instanceof DOMException && error.name === "AbortError")) mark("not up to date: the server does not answer");
  }
}

/** @param {string} text @param {boolean} everything */
function take(text, everything) {
  const html = policy ? policy.createHTML(text) : text;
  const fresh = new DOMParser().parseFromString(/** @type {string} */ (html), "text/html");
  if (everything) {
    const main = fresh.querySelector("main");
    if (main) morph(/** @type {Element} */ (document.querySelector("main")), main);
  } else {
    for (const region of document.querySelectorAll("[data-region]")) {
      const wanted = fresh.getElementById(region.id);
      if (wanted) morph(region, wanted);
    }
  }
  document.title = fresh.title;
  const icon = fresh.getElementById("icon")?.getAttribute("href");
  if (icon) document.getElementById("icon")?.setAttribute("href", icon);
  document.documentElement.dataset.zone = fresh.documentElement.dataset.zone;
  const isOver = !fresh.body.hasAttribute("data-live");
  if (isOver && document.body.hasAttribute("data-live")) {
    tell();
    document.body.removeAttribute("data-live");
    close();
    if (!everything) take(text, true);
  }
}

/** @param {string} text */
function mark(text) {
  if (!stale) return;
  stale.hidden = !text;
  stale.textContent = text;
}

/** Refresh now, or when the person has let go of what is selected. */
function change() {
  if (isPaused) return;
  const selection = getSelection();
  const isBusy = (selection && !selection.isCollapsed) || document.querySelector("main details[open] form") || document.querySelector("[data-row] input:checked");
  isWanted = true;
  if (isBusy) return;
  isWanted = false;
  refresh();
}

/** Follow what the page shows, as long as it is seen. */
export function follow() {
  if (!document.body.hasAttribute("data-live")) return;
  document.addEventListener("visibilitychange", () => (document.hidden && !isWaited() ? close() : open()));
  setInterval(() => {
    if ((!document.hidden || isWaited()) && (isWanted || source)) change();
  }, 5000);
  if (!document.hidden) open();
}

/** Stop to refresh, or go on. */
export function pause() {
  isPaused = !isPaused;
  mark(isPaused ? "paused" : "");
  if (!isPaused) refresh();
}

function open() {
  if (source || !document.body.hasAttribute("data-live")) return;
  const context = document.body.dataset.live;
  source = new EventSource(context ? `/~live?context=${context}` : "/~live");
  source.addEventListener("changed", change);
  source.addEventListener("gone", () => location.reload());
  source.onopen = change;
  source.onerror = () => mark("not up to date: the server does not answer");
}

function close() {
  source?.close();
  source = null;
}
