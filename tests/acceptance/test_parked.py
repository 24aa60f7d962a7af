"""Parked runs cost rows and nothing else: 2,000 of them here, any number elsewhere."""

import json
import os
import subprocess
import time
from pathlib import Path

import pytest

from tests.acceptance.family import DAMA

PARKED = 2000
PROMPT = 10.0  # nobody looks for it in vain for longer, on a busy machine either
RENEWALS = 5


@pytest.mark.timeout(120)
def test_parked_runs_cost_a_worker_nothing(family, wire):
    """It asks once a second, holds no run, keeps its memory; an answer wakes the one it is for."""
    worker = family.worker("parents", park_after=0.0, url=wire.url)
    first = family.queue("asked", count=PARKED // 2)
    family.until(lambda: family.states() == {"waiting": PARKED // 2}, seconds=60)
    before = megabytes(worker)
    family.queue("asked", count=PARKED // 2)
    family.until(lambda: family.states() == {"waiting": PARKED}, seconds=60)
    after_renewals(family, 2)

    asked = wire.requests
    after_renewals(family, RENEWALS)

    assert wire.requests - asked <= 2 * RENEWALS
    assert family.sql("SELECT running FROM _data_manager_admin.worker") == [(0,)]
    assert megabytes(worker) - before < 8

    chosen = first + PARKED // 2
    emit(family, chosen, "yes")
    family.until_event("family.asked:FINAL")

    assert family.payload("family.asked:FINAL") == "yes"
    assert family.seconds_between("answer", "family.asked:FINAL") < PROMPT
    assert family.states() == {"waiting": PARKED - 1}


def after_renewals(family, count):
    """Return when the lease was renewed so many times."""
    seen = set()
    deadline = time.monotonic() + 30 * count
    while len(seen) <= count:
        seen.update(family.sql("SELECT lease_until FROM _data_manager_admin.worker"))
        assert time.monotonic() < deadline, "the lease is not renewed"
        time.sleep(0.1)  # a tenth of the time between two renewals


def megabytes(process):
    """What a process has in memory."""
    lines = Path(f"/proc/{process.pid}/status").read_text().splitlines()
    (line,) = (line for line in lines if line.startswith("VmRSS"))
    return int(line.split()[1]) / 1024


def emit(family, context, answer):
    """As a person does it."""
    subprocess.run(
        [DAMA, "emit", str(context), "answer", "--payload", json.dumps(answer)],
        cwd=family.folder,
        env={**os.environ, "DAMA_DATABASE_URL": family.url},
        check=True,
    )
