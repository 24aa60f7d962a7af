"""A thread that is told to stop leaves the rest of its process as it was."""

import asyncio
import logging
import sys
import textwrap
from concurrent.futures import ThreadPoolExecutor

import pytest

from dama.run.errors import LostSignal
from dama.run.threads import BlockingCall, Threads

TELLS = 500

# What is raised in a callback of the garbage collector is swallowed; then the thread is told again.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")


@pytest.fixture
def threads():
    with ThreadPoolExecutor(1) as pool:
        yield Threads(pool, "a run")


class Quiet(logging.Handler):
    """Takes and releases its lock for each record, as every handler does, and prints nothing."""

    def emit(self, record):
        pass


@pytest.fixture
def log():
    log = logging.Logger("busy")  # noqa: LOG001 - pytest keeps the records of those it finds
    log.addHandler(Quiet())
    return log


def lock_is_free(log):
    """Whether another thread can log: this one takes the lock only if nobody has it."""
    lock = log.handlers[0].lock
    if not lock.acquire(timeout=5):
        return False
    lock.release()
    return True


async def until(sees):
    async with asyncio.timeout(30):
        while not sees():  # noqa: ASYNC110 - a thread sets it
            await asyncio.sleep(0.001)


async def test_a_thread_that_logs_all_the_time_leaves_the_log_to_others(threads, log):
    """Wherever it is told, the lock of its handler is free once it has ended."""
    for _ in range(TELLS):
        begun = []

        def logs(begun=begun):
            begun.append(True)
            while True:
                log.error("again")

        calling = asyncio.ensure_future(threads.call(BlockingCall(logs)))
        await until(lambda begun=begun: begun)
        calling.cancel()
        with pytest.raises(asyncio.CancelledError):
            await calling
        async with asyncio.timeout(30):
            assert await threads.end()
        assert lock_is_free(log)


async def test_a_thread_that_catches_it_is_told_again(threads, log):
    """Until it ends; the log is free for others each time."""
    for _ in range(4):
        begun, caught = [], []

        def stubborn(begun=begun, caught=caught):
            begun.append(True)
            while not caught:
                try:
                    while True:
                        log.error("again")
                except LostSignal:
                    caught.append(True)
            while True:
                log.error("again")

        calling = asyncio.ensure_future(threads.call(BlockingCall(stubborn)))
        await until(lambda begun=begun: begun)
        async with asyncio.timeout(30):
            assert await threads.end()
        with pytest.raises(LostSignal):
            await calling
        assert lock_is_free(log)


async def test_a_module_that_a_thread_imports_is_imported_whole(threads, tmp_path, monkeypatch):
    """The next attempt in the same process would find half of it."""
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "imported_slowly.py").write_text(
        textwrap.dedent("""
            import time
            begun = True
            end = time.monotonic() + 1
            while time.monotonic() < end:
                pass
            whole = True
            """)
    )

    def imports():
        import imported_slowly

        while imported_slowly:
            pass

    calling = asyncio.ensure_future(threads.call(BlockingCall(imports)))
    await until(lambda: hasattr(sys.modules.get("imported_slowly"), "begun"))
    calling.cancel()
    with pytest.raises(asyncio.CancelledError):
        await calling
    try:
        async with asyncio.timeout(30):
            assert await threads.end()
        assert sys.modules["imported_slowly"].whole
    finally:
        del sys.modules["imported_slowly"]
