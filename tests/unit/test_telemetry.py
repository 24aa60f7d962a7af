"""The log: lines for people, or JSON that says what each line is about."""

import asyncio
import json
import logging

from dama.telemetry import JsonLines, about


def line(message, **more):
    record = logging.LogRecord("dama.worker", logging.WARNING, __file__, 1, message, None, None)
    vars(record).update(more)
    return json.loads(JsonLines().format(record))


async def test_a_line_says_what_it_is_about_and_tasks_do_not_mix_that_up():
    async def worker(context_id):
        about(context_id=context_id)
        await asyncio.sleep(0)
        about(task="x.y")
        return line("lost")

    first, second = await asyncio.gather(worker(1), worker(2))
    assert (first["context_id"], second["context_id"]) == (1, 2)
    assert (first["task"], first["level"], first["logger"]) == ("x.y", "WARNING", "dama.worker")
    assert first["message"] == "lost"
    assert first["time"].endswith("+00:00")
    assert "context_id" not in line("outside")


def test_an_error_is_within_its_line():
    error = ValueError("a bug\nin two lines")
    told = line("failed", exc_info=(type(error), error, None))
    assert "ValueError: a bug\nin two lines" in told["error"]
