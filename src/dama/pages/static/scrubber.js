// The scrubber: a step is one request, and steps are made one after the other, so that all are seen.
// Where they lead the server says: with a filter, to the events that fit. The address tells where the page stands.
// Playing is a step each second, up to the last event.

import { refresh } from "./live.js";

const PATIENCE = 10000;
const TEMPO = 1000; // between two steps that are played
const moves = /** @type {(() => string | undefined)[]} */ ([]);
let mover = /** @type {object | null} */ (null);
let begun = 0;
let playing = 0;

/** Let the range step while it is dragged. */
export function watch() {
  document.addEventListener("input", (event) => {
    const range = /** @type {HTMLInputElement} */ (event.target);
    if (!range.matches('#scrubber input[type="range"]')) return;
    stop();
    moves.length = 0; // of a drag only the latest place is looked at
    go(() => at(range.value));
  });
  document.addEventListener("click", (event) => {
    if (/** @type {Element} */ (event.target).closest("#play")) return void play();
    const link = /** @type {Element} */ (event.target).closest("[data-step]");
    if (!link || event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    step(/** @type {HTMLElement} */ (link).dataset.step ?? "");
  });
}

/** @param {string} version */
function at(version) {
  const address = new URL(location.href);
  address.searchParams.set("at", version);
  for (const name of ["to", "after", "byte", "find", "run"]) address.searchParams.delete(name);
  return address.href;
}

/** Step to another event.
 * @param {string} where first, previous, next, mark-before, mark-after or live
 * @param {boolean} isHeld whether the key is held down: it steps as fast as the pages come
 */
export function step(where, isHeld = false) {
  if (!link(where)) return false;
  stop();
  if (where === "live") location.assign(link(where)?.href ?? "");
  else if (!isHeld || !moves.length) go(() => link(where)?.href);
  return true;
}

/** Step on and on, from the first event where the page stands at the last; or stop to do so. */
export function play() {
  const range = place();
  if (!range) return false;
  if (playing) stop();
  else {
    show((playing = setTimeout(on, TEMPO)));
    if (range.value === range.max) go(() => link("first")?.href);
  }
  return true;
}

/** One step of playing. */
async function on() {
  const before = place()?.value;
  await go(() => link("next")?.href);
  if (!playing) return;
  if (before === place()?.value || place()?.value === place()?.max) stop();
  else show((playing = setTimeout(on, TEMPO)));
}

function stop() {
  clearTimeout(playing);
  show((playing = 0));
}

/** @param {unknown} isPlaying */
function show(isPlaying) {
  const button = document.getElementById("play");
  if (button) button.textContent = isPlaying ? "Stop" : "Play";
}

function place() {
  return /** @type {HTMLInputElement | null} */ (document.querySelector('#scrubber input[type="range"]'));
}

/** @param {string} where */
function link(where) {
  return /** @type {HTMLAnchorElement | null} */ (document.querySelector(`#scrubber [data-step="${where}"]`));
}

/** Make a move after those that were asked for before; one that takes long is given up for it.
 * @param {() => string | undefined} move The address that the page then has.
 */
function go(move) {
  document.body.removeAttribute("data-live");
  moves.push(move);
  if (!mover || performance.now() - begun > PATIENCE) return work();
}

async function work() {
  const mine = (mover = {});
  while (mover === mine && moves.length) {
    begun = performance.now();
    const address = moves.shift()?.();
    const isShown = address && (await refresh({ address, everything: true }));
    show(playing);
    if (mover === mine && !isShown) moves.length = 0; // the server is away
  }
  if (mover === mine) mover = null;
}
