// Again: a page that could not be made is asked for until it can be.

const REST = 3000;

/** Ask for what the error page is about, while it is seen. */
export function retry() {
  if (document.body.hasAttribute("data-again")) setTimeout(look, REST);
}

async function look() {
  const answer = document.hidden ? null : await fetch(location.href, { cache: "no-store" }).catch(() => null);
  if (answer && answer.status < 500) return location.reload();
  setTimeout(look, REST);
}
