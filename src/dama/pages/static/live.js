// Live: the server says that something changed, and the page asks for itself again.
// Only its regions are taken over, and nothing that somebody is using. A hidden page holds no stream.

import { showEnds } from "./ends.js";
import { morph } from "./morph.js";
import { clear, holds } from "./newest.js";
import { isWaited, offer, tell } from "./notify.js";

const base = document.documentElement.dataset.base ? `/${document.documentElement.dataset.base}` : "";
const AWAY = "not up to date: the server does not answer";
const LATER = "changed meanwhile: shown when you are done here";
const OUT = "logged out; nothing here is lost. Log in in another tab, then continue: ";
const BEAT = 5000;
const SLOW = 5000;
const LOST = 60000;
const LONGEST_REST = 30000;

const policy = window.trustedTypes?.createPolicy("dama", { createHTML: (text) => text });
const stale = document.getElementById("stale");
let tag = "";
let asking = /** @type {AbortController | null} */ (null);
let source = /** @type {EventSource | null} */ (null);
let again = 0;
let rest = 1000;
let isPaused = false;
let isStepping = false;
let isAskedAgain = false;
let isWanted = false;

/** Ask for a page and take its regions over; says whether it did.
 * @param {{address?: string, everything?: boolean}} options
 */
export async function refresh({ address = location.href, everything = false } = {}) {
  if (isStepping && !everything) return false; // what a person asked for is not given up for news
  if (asking && !everything) {
    isAskedAgain = true; // nor is an answer for a newer one: who is slow would never be seen
    return false;
  }
  asking?.abort();
  const mine = (asking = new AbortController());
  isStepping = everything;
  const slow = setTimeout(() => mark(AWAY), SLOW);
  const lost = setTimeout(() => mine.abort(), LOST);
  try {
    const headers = tag && !everything && address === location.href ? { "If-None-Match": tag } : {};
    const answer = await fetch(address, { headers, signal: mine.signal, redirect: "follow", cache: "no-store" });
    if (answer.status === 304) return mark("");
    if (new URL(answer.url).pathname === `${base}/login`) return gone();
    const fresh = parsed(await answer.text());
    if (!answer.ok) return mark(`not up to date: ${problem(fresh) || `the server answers with an error, ${answer.status}`}`);
    renew(fresh);
    if (isBusy() && !everything) return mark("");
    const isWhole = take(fresh, everything); // what was held is to be sent again
    tag = (isWhole && answer.headers.get("etag")) || "";
    const shown = answer.redirected ? answer.url : address;
    if (shown !== location.href) history.replaceState(null, "", shown);
    mark("");
    return true;
  } catch (error) {
    if (!(error instanceof DOMException && error.name === "AbortError")) mark(AWAY);
  } finally {
    clearTimeout(slow);
    clearTimeout(lost);
    if (asking === mine) rested();
  }
}

/** Nothing is asked for now, but perhaps something came meanwhile. */
function rested() {
  asking = null;
  isStepping = false;
  if (isAskedAgain && isLive()) change();
  isAskedAgain = false;
}

/** @param {string} text */
function parsed(text) {
  const html = policy ? policy.createHTML(text) : text;
  return new DOMParser().parseFromString(/** @type {string} */ (html), "text/html");
}

/** What an error page says; nothing where it is not one of ours.
 * @param {Document} page
 */
function problem(page) {
  return page.querySelector("main [role=alert]")?.textContent;
}

/** Take a page over; says whether nothing of it was held.
 * @param {Document} fresh @param {boolean} everything
 */
function take(fresh, everything) {
  const before = status(document);
  let isWhole = true;
  if (everything) {
    for (const name of ["main", "footer"]) {
      const wanted = fresh.querySelector(name);
      if (wanted) morph(/** @type {Element} */ (document.querySelector(name)), wanted);
    }
    clear();
    showEnds();
  } else {
    for (const region of document.querySelectorAll("[data-region]")) {
      const wanted = fresh.getElementById(region.id);
      if (!wanted) continue;
      if (holds(region, wanted, refresh)) {
        isWhole = false;
        continue;
      }
      morph(region, wanted);
      showEnds(region);
    }
  }
  document.title = fresh.title;
  const icon = fresh.getElementById("icon")?.getAttribute("href");
  if (icon) document.getElementById("icon")?.setAttribute("href", icon);
  document.documentElement.dataset.zone = fresh.documentElement.dataset.zone;
  if (before === "OPEN" && status(document) !== "OPEN") tell();
  offer();
  return isWhole;
}

/** What was filled in is sent by whoever has logged in since.
 * @param {Document} fresh
 */
function renew(fresh) {
  const token = /** @type {HTMLInputElement | null} */ (fresh.querySelector("input[name=form_token]"))?.value;
  if (!token) return;
  for (const field of document.querySelectorAll("input[name=form_token]")) /** @type {HTMLInputElement} */ (field).value = token;
}

/** The status of the context of a page; nothing on other pages.
 * @param {Document} page
 */
function status(page) {
  return page.getElementById("head")?.dataset.status;
}

/** @param {string} text @param {string} link */
function mark(text, link = "") {
  if (!stale) return;
  const words = text || (isPaused ? "paused" : isWanted && isBusy() ? LATER : "");
  stale.hidden = !words;
  if (stale.firstChild?.nodeValue === words) return;
  stale.replaceChildren(words);
  if (link) stale.append(Object.assign(document.createElement("a"), { href: link, target: "_blank", textContent: "log in" }));
}

/** Whether the person is doing what news would take away. */
function isBusy() {
  const selection = getSelection();
  const isSelecting = selection && !selection.isCollapsed;
  return Boolean(isSelecting || document.querySelector("main details[open] form, [data-row] input:checked"));
}

/** Refresh now, or when the person has let go of what is selected. */
function change() {
  isWanted = true;
  if (isPaused || isBusy()) return mark("");
  isWanted = false;
  refresh();
}

/** What came while the person was busy is shown when they are no longer. */
function settle() {
  if (isWanted && !document.hidden) change();
}

/** Follow what the page shows, as long as it is seen. */
export function follow() {
  addEventListener("pageshow", (event) => (event.persisted || isBack()) && (open(), refresh()));
  if (!isLive()) return;
  addEventListener("pagehide", close);
  document.addEventListener("visibilitychange", () => (document.hidden ? close() : open()));
  document.addEventListener("toggle", settle, true);
  document.addEventListener("selectionchange", settle);
  setInterval(beat, BEAT);
  open();
}

/** Whether the person came back: a browser shows what it kept, perhaps of an earlier session. */
function isBack() {
  const [navigation] = performance.getEntriesByType("navigation");
  return /** @type {PerformanceNavigationTiming | undefined} */ (navigation)?.type === "back_forward";
}

/** Times go on where nothing else changes, and a hidden page that waits for the end asks for it. */
function beat() {
  if (document.hidden ? isWaited() : isLive() && (isWanted || (source && (status(document) ?? "OPEN") === "OPEN"))) change();
}

/** Stop to refresh, or go on. */
export function pause() {
  isPaused = !isPaused;
  mark("");
  if (!isPaused) refresh();
}

function isLive() {
  return document.body.hasAttribute("data-live");
}

function open() {
  clearTimeout(again);
  if (source || document.hidden || !isLive()) return;
  const context = document.body.dataset.live;
  const mine = (source = new EventSource(context ? `${base}/~live?context=${context}` : `${base}/~live`));
  mine.addEventListener("changed", change);
  mine.addEventListener("gone", gone);
  mine.onopen = () => {
    rest = 1000;
    if (isPaused) mark("");
    else refresh(); // takes its mark away when the page is that of the session
  };
  mine.onerror = () => {
    mark(AWAY);
    if (mine.readyState !== EventSource.CLOSED) return; // the browser connects again
    close(); // a redirect, or an error of a proxy: a browser gives such a stream up
    again = setTimeout(open, rest);
    rest = Math.min(rest * 2, LONGEST_REST);
    refresh(); // says what it is
  };
}

function close() {
  clearTimeout(again);
  source?.close();
  source = null;
}

/** The session has ended. */
function gone() {
  if (!isBusy()) return location.reload();
  mark(OUT, `${base}/login`);
  if (!source) return;
  close();
  again = setTimeout(open, rest);
}
