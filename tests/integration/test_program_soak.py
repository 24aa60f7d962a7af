"""Programs of many kinds, while workers come and go: every line, code and event is right."""

import asyncio
import os
from dataclasses import dataclass
from pathlib import Path

import pytest

from dama import Service
from dama.definitions.registry import Registry
from dama.programs.process import members_of
from dama.programs.programs import directories_of
from tests.integration.programs import Bench

ROUNDS = int(os.environ.get("DAMA_SOAK_ROUNDS", "1"))  # 100 rounds are 2,000 programs
EVENT = """echo '::dama:: {"type": "seen/one"}'"""


@dataclass(frozen=True)
class Kind:
    """What a program does, and how it must end."""

    script: str
    lines: int = 1
    code: int = 0
    pty: bool = False


KINDS = {
    "plain": Kind(EVENT),
    "failing": Kind(f"{EVENT}; exit 3", code=3),
    "sed": Kind(f"exec > >(sed s/z/b/); seq 2000; {EVENT}", 2001),
    "tee": Kind(f"exec > >(tee copy); seq 2000; {EVENT}", 2001),
    "slow_filter": Kind(f"exec > >(sleep 0.5; cat); seq 500; {EVENT}", 501),
    "loop": Kind(f"exec > >(while read -r l; do echo $l; done); seq 500; {EVENT}", 501),
    "big": Kind(f"seq 200000; {EVENT}", 200_001),
    "pty": Kind(f"seq 500; {EVENT}", 501, pty=True),
    "pty_big": Kind(f"seq 20000; {EVENT}", 20_001, pty=True),
    "daemon": Kind(f"setsid sleep 600 & {EVENT}"),
    "double": Kind(f"(setsid sleep 600 &) ; {EVENT}"),
    "forks": Kind(f"for i in $(seq 20); do (echo $i) & done; wait; {EVENT}", 21),
    "deaf": Kind(f"trap '' TERM; sleep 600 & {EVENT}"),
    "deaf_child": Kind(f"(trap '' TERM; sleep 600) & {EVENT}"),
    "cleared": Kind(f"env -i sleep 600 & {EVENT}"),
    "hidden": Kind(f"env -i setsid sleep 600 & {EVENT}"),
    "stopped": Kind(f"sleep 600 & kill -STOP $!; {EVENT}"),
    "patient": Kind(f"sleep 2; {EVENT}"),
    "chatty": Kind(f"for i in $(seq 20); do echo $i; sleep 0.05; done; {EVENT}", 21),
    "file": Kind("""echo '{"type": "seen/one"}' >> $DAMA_EVENTS""", 0),
}


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
