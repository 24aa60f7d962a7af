// The scrubber: a step is one request; a newer one ends it. The address tells where the page stands.

import { refresh } from "./live.js";

/** Let the range step while it is dragged. */
export function watch() {
  document.addEventListener("input", (event) => {
    const range = /** @type {HTMLInputElement} */ (event.target);
    if (range.matches('#scrubber input[type="range"]')) go({ at: range.value });
  });
  document.addEventListener("click", (event) => {
    const link = /** @type {Element} */ (event.target).closest("[data-step]");
    if (!link || event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    step(/** @type {HTMLElement} */ (link).dataset.step ?? "");
  });
}

/** Step to another event.
 * @param {string} where first, previous, next or live
 */
export function step(where) {
  const range = /** @type {HTMLInputElement | null} */ (document.querySelector('#scrubber input[type="range"]'));
  if (!range) return false;
  const now = Number(range.value);
  const last = Number(range.max);
  switch (where) {
    case "first":
      return go({ at: "1" });
    case "previous":
      return go({ at: String(Math.max(now - 1, 1)) });
    case "next":
      return go({ at: String(Math.min(now + 1, last)) });
    default:
      return go({ at: null });
  }
}

/** @param {{at: string | null}} place */
function go({ at }) {
  const address = new URL(location.href);
  if (at === null) address.searchParams.delete("at");
  else address.searchParams.set("at", at);
  for (const name of ["to", "after", "byte", "find", "run"]) address.searchParams.delete(name);
  if (at !== null) {
    document.body.removeAttribute("data-live");
    refresh({ address: address.href, everything: true });
  } else location.assign(address.href);
  return true;
}
