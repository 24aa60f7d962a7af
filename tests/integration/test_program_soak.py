"""Programs of many kinds, while workers come and go: every line, code and event is right."""

import asyncio
import os
from pathlib import Path

import pytest

from dama import Service
from dama.definitions.registry import Registry
from dama.programs.process import members_of
from dama.programs.programs import directories_of
from tests.integration.program_kinds import KINDS
from tests.integration.programs import Bench

ROUNDS = int(os.environ.get("DAMA_SOAK_ROUNDS", "1"))  # 100 rounds are 2,000 programs


@pytest.mark.timeout(60 + 15 * ROUNDS)
@pytest.mark.parametrize("rounds", [ROUNDS])
async def test_programs_of_all_kinds_over_workers_that_come_and_go(store, tmp_path, rounds):
    service = Service("k")
    bench = Bench(store, Registry([service]))
    contexts = {}
    for name, kind in KINDS.items():
        values = {"command": ["bash", "-c", kind.script], "grace": 0.2}
        values |= {"pty": kind.pty, "exit_codes": {"fail": [3]}}
        task = service.declare(name, values, place="test", base=tmp_path)
        contexts |= {await bench.start(task): kind for _ in range(rounds)}
    for _ in range(3):
        async with bench.worker(slots=40):
            await asyncio.sleep(1)  # then it goes away, wherever the programs are
    async with bench.worker(slots=40):
        ends = {context_id: await bench.ended(context_id) for context_id in contexts}
    runs = await directories_of(store, Path(os.environ["DAMA_HOME"]))
    for context_id, kind in contexts.items():
        # A worker that went away before there was a process leaves a folder without one.
        (directory,) = [run for run in runs.of_context(context_id) if run.read("pid.json")]
        assert ends[context_id].status == ("ERROR" if kind.code else "DONE"), kind
        assert directory.stdout.read_bytes().count(b"\n") == kind.lines, kind
        assert directory.exit()["code"] == kind.code
        assert directory.exit()["left"] == 0
        events = [e.type for e in await store.events(context_id)]
        assert events.count("seen/one") == 1, kind
        assert members_of(directory.path) == set()
    assert list(runs.open()) == []
