// Morphing: an element becomes like another one, and what is the same in both stays what it is.
// So focus, selected text, open details and the place of scrolling are kept.

/** Make an element like another one.
 * @param {Element} old
 * @param {Element} fresh
 */
export function morph(old, fresh) {
  if (old.isEqualNode(fresh)) return;
  if (old.tagName !== fresh.tagName) {
    old.replaceWith(document.importNode(fresh, true));
    return;
  }
  attributes(old, fresh);
  children(old, fresh);
}

/** @param {Element} old @param {Element} fresh */
function attributes(old, fresh) {
  for (const { name } of [...old.attributes]) {
    if (name === "open" && old.tagName === "DETAILS") continue; // a person has opened it
    if (!fresh.hasAttribute(name) && !(name === "class" && old.classList.contains("here"))) old.removeAttribute(name);
  }
  for (const { name, value } of fresh.attributes) {
    if (name === "open" && old.tagName === "DETAILS") continue;
    const wanted = name === "class" && old.classList.contains("here") ? `${value} here` : value;
    if (old.getAttribute(name) !== wanted) old.setAttribute(name, wanted);
  }
}

/** @param {Element} old @param {Element} fresh */
function children(old, fresh) {
  const known = new Map([...old.children].filter((each) => each.id).map((each) => [each.id, each]));
  const kept = new Set([...fresh.children].map((each) => each.id));
  let place = old.firstChild;
  for (const wanted of [...fresh.childNodes]) {
    const id = wanted instanceof Element ? wanted.id : "";
    const found = id ? known.get(id) : like(place, wanted) ? place : null;
    if (!found) {
      old.insertBefore(document.importNode(wanted, true), place);
      continue;
    }
    while (place && place !== found && isSpare(place, kept)) place = removed(place);
    if (found !== place) old.insertBefore(found, place);
    else place = place?.nextSibling ?? null;
    if (found instanceof Element && wanted instanceof Element) morph(found, wanted);
    else if (found.nodeValue !== wanted.nodeValue) found.nodeValue = wanted.nodeValue;
  }
  while (place) place = removed(place);
}

/** Whether nothing fresh will be made of a node: it goes, so that what has the focus need not be moved.
 * @param {ChildNode} node @param {Set<string>} kept
 */
function isSpare(node, kept) {
  return !(node instanceof Element) || (node.id !== "" && !kept.has(node.id));
}

/** @param {ChildNode} node */
function removed(node) {
  const following = node.nextSibling;
  node.remove();
  return following;
}

/** Whether a node can become another one: the same kind, and no id that says otherwise.
 * @param {Node | null} node @param {Node} wanted
 */
function like(node, wanted) {
  if (!node || node.nodeType !== wanted.nodeType) return false;
  if (!(node instanceof Element) || !(wanted instanceof Element)) return true;
  return node.tagName === wanted.tagName && !node.id && !wanted.id;
}
