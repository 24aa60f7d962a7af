// Notifications: one at the end of a context, when its page is not seen. Asked for by a button, for this page only.

const button = /** @type {HTMLButtonElement | null} */ (document.getElementById("notify"));
let isOffered = false;
let isWanted = false;

/** Offer it on the page of a context that has not ended, where the browser can. */
export function offer() {
  if (!button || !("Notification" in window)) return;
  const isOpen = document.body.dataset.live && document.getElementById("head")?.dataset.status === "OPEN";
  if (button.hidden === !isOpen) return;
  button.hidden = !isOpen;
  if (!isOpen || isOffered) return;
  isOffered = true;
  show(Notification.permission === "denied" ? "Notifications are blocked in this browser" : "Notify me at the end");
  button.disabled = Notification.permission === "denied";
  button.addEventListener("click", async () => {
    if (!isWanted && (await Notification.requestPermission()) !== "granted") {
      button.disabled = true;
      return show("Notifications are blocked in this browser");
    }
    isWanted = !isWanted;
    button.setAttribute("aria-pressed", String(isWanted));
    show(isWanted ? "You will be notified" : "Notify me at the end");
  });
}

/** Whether this page has to follow its context while it is hidden. */
export function isWaited() {
  return isWanted;
}

/** Tell that the context has ended. */
export function tell() {
  if (!isWanted || !document.hidden) return;
  const icon = document.getElementById("icon")?.getAttribute("href") ?? undefined;
  const told = new Notification(document.title, { icon, tag: location.pathname });
  told.onclick = () => {
    window.focus();
    told.close();
  };
}

/** @param {string} text */
function show(text) {
  if (button) button.textContent = text;
}
