// What the pages do beyond links and forms: they refresh, they take keys, the scrubber steps.
// Without this file everything can still be read and done.

import { choose } from "./choose.js";
import { follow, refresh } from "./live.js";
import { listen } from "./keys.js";
import { offer } from "./notify.js";
import { watch } from "./scrubber.js";

const root = document.documentElement;

if (!document.cookie.includes("dama_zone=")) {
  const zone = Intl.DateTimeFormat().resolvedOptions().timeZone;
  if (zone && zone !== root.dataset.zone) {
    document.cookie = `dama_zone=${encodeURIComponent(zone)}; path=/; max-age=31536000; samesite=lax`;
    refresh({ everything: true });
  }
}
follow();
offer();
choose();
watch();
if (root.dataset.keys !== "off") listen();
