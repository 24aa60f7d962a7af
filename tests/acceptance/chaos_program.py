"""A program of `make chaos`: it says that it runs, emits events, writes lines and a result."""

import json
import os
import sys
import time
from pathlib import Path

ticks = int(sys.argv[1])
with Path(os.environ["LEDGER"], os.environ["DAMA_CONTEXT_ID"]).open("a") as ledger:
    ledger.write(os.environ["DAMA_EPOCH"] + "\n")
for tick in range(ticks):
    with Path(os.environ["DAMA_EVENTS"]).open("a") as events:
        events.write(json.dumps({"type": "tick", "payload": tick}) + "\n")
    sys.stdout.write(f"tick {tick}\n")
    time.sleep(0.1)
Path(os.environ["DAMA_RESULT"]).write_text(json.dumps({"ticks": ticks}))
