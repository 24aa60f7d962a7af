"""Hostile programs, all at once under one worker: each end, line and event is right."""

import os
import signal
from contextlib import suppress
from pathlib import Path

import pytest

from dama.programs.programs import directories_of
from tests.integration.hostile_kinds import HOSTILE, Kind, script_of, sleeping
from tests.integration.programs import Shims
from tests.integration.test_programs import Programs

# Of all that end a process: those that no program gets from the kernel by itself alone.
SIGNALS = [n for n in range(1, 65) if n not in (17, 18, 19, 20, 21, 22, 23, 28, 32, 33)]


async def wrong_of(bench: Programs, kind: Kind, context: int, status: str) -> dict[str, object]:
    """What is not as it must be: what was found."""
    runs = await directories_of(bench.store, Path(os.environ["DAMA_HOME"]))
    (directory,) = runs.of_context(context)
    told = directory.exit() or {}
    events = await bench.store.events(context)
    count = [e.type.rpartition(":")[2] if e.type != "seen/one" else "one" for e in events].count
    stdout, stderr = directory.stdout.read_bytes(), directory.stderr.read_bytes()
    out = stdout.replace(b"\r", b"")
    out = b"\n".join(line for line in out.split(b"\n") if not line.startswith(b"::dama::"))
    end = events[-1].payload
    found = {
        "status": (status, "DONE" if kind.code == 0 else "ERROR"),
        "code": (told.get("code"), kind.code),
        "signal": (told.get("signal"), kind.signal),
        "why": (told.get("why"), kind.why),
        "left": (told.get("left"), 0),
        "lines": (stdout.count(b"\n"), kind.lines),
        "out": (out.strip(b"\n"), kind.out),
        "err": (stderr.count(b"\n"), kind.err),
        "events": (count("one"), kind.events),
        "warns": (count("WARN"), kind.warns),
        "artifacts": (count("ARTIFACT"), kind.artifacts),
        "left_out": (next(iter(end.get("left_out", ())), ""), kind.left_out)
        if isinstance(end, dict)
        else ("", kind.left_out),
        "result": (end, kind.result),
    }
    optional = ("out", "err", "events", "result")
    return {
        name: pair[0]
        for name, pair in found.items()
        if pair[0] != pair[1] and not (name in optional and pair[1] is None)
    }


@pytest.mark.timeout(300)
async def test_whatever_programs_do_they_end_whole_and_leave_nothing(store, tmp_path):
    bench = Programs(store, tmp_path)
    seconds = f"619.{os.getpid()}"
    contexts = {}
    for number, (name, kind) in enumerate(HOSTILE.items()):
        script = script_of(kind, seconds)
        contexts[name] = await bench.start(bench.declare(f"h{number}", script, **kind.settings))
    wrong = {}
    try:
        async with bench.worker(slots=30):
            for name, context in contexts.items():
                status = (await bench.ended(context)).status
                if found := await wrong_of(bench, HOSTILE[name], context, status):
                    wrong[name] = found
        left = sleeping(seconds)
    finally:
        for pid in sleeping(seconds):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
    assert wrong == {}
    assert left == []
    runs = await directories_of(store, Path(os.environ["DAMA_HOME"]))
    assert list(runs.open()) == []


def test_every_exit_code_and_signal_is_told_as_it_was(tmp_path):
    """All of them at once, as each of them is a process."""
    shims = Shims(tmp_path / "runs")
    ways = [("code", code) for code in range(0, 256, 5)] + [("signal", n) for n in SIGNALS]
    scripts = {
        way: f"exit {way[1]}" if way[0] == "code" else f"exec env kill -{way[1]} $$" for way in ways
    }
    try:
        started = {way: shims.start("bash", "-c", script) for way, script in scripts.items()}
        for (kind, number), directory in started.items():
            told = shims.ended(directory)
            other = {"code": "signal", "signal": "code"}[kind]
            assert (told[kind], told[other], told["why"]) == (number, None, ""), (kind, number)
    finally:
        shims.close()
