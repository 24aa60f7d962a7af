// Choosing rows: shift chooses all from the row that was chosen last.

let last = /** @type {HTMLInputElement | null} */ (null);

/** Watch the boxes of rows. */
export function choose() {
  document.addEventListener("click", (event) => {
    const box = /** @type {HTMLInputElement} */ (event.target);
    if (!(box instanceof HTMLInputElement) || !box.matches("[data-row] input[type=checkbox]")) return;
    if (event.shiftKey) range(box);
    last = box;
  });
}

/** Choose all rows from the last one to that of the keys. */
export function chooseTo() {
  const box = /** @type {HTMLInputElement | null} */ (document.querySelector("tr.here input[type=checkbox]"));
  if (!box) return false;
  box.checked = true;
  range(box);
  last = box;
  return true;
}

/** @param {HTMLInputElement} box */
function range(box) {
  const boxes = /** @type {HTMLInputElement[]} */ ([...document.querySelectorAll("[data-row] input[type=checkbox]")]);
  const begin = last ? boxes.indexOf(last) : -1;
  const end = boxes.indexOf(box);
  if (begin < 0) return;
  for (const each of boxes.slice(Math.min(begin, end), Math.max(begin, end) + 1)) each.checked = box.checked;
}
