// What the pages do beyond links and forms: they refresh, they take keys, the scrubber steps.
// Without this file everything can still be read and done.

import { retry } from "./again.js";
import { choose } from "./choose.js";
import { showEnds } from "./ends.js";
import { follow } from "./live.js";
import { listen } from "./keys.js";
import { offer } from "./notify.js";
import { watch } from "./scrubber.js";
import { adopt } from "./zone.js";

document.documentElement.dataset.script = "on";
adopt();
showEnds();
follow();
offer();
choose();
watch();
retry();
if (document.documentElement.dataset.keys !== "off") listen();
