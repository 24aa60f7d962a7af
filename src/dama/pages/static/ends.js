// The end of a log is what is looked at first, and it stays in view until somebody scrolls up.

const NEAR = 8; // pixels

/** Show the end of each log that is shown up to its end.
 * @param {ParentNode} within
 */
export function showEnds(within = document) {
  for (const log of within.querySelectorAll("pre[data-end]")) log.scrollTop = log.scrollHeight;
}

/** Whether somebody has scrolled up in a log: what they read stays as it is.
 * @param {Element} region
 */
export function isAwayFromEnd(region) {
  const log = region.querySelector("pre[data-end]");
  return Boolean(log && log.scrollTop + log.clientHeight < log.scrollHeight - NEAR);
}
