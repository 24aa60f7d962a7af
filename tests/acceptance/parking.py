"""A worker whose waits are parked after some seconds; `dama worker` parks after a minute.

python parking.py SECONDS QUEUE...
"""

import asyncio
import sys

from dama.app import App
from dama.config.config import load_config
from dama.definitions.registry import Registry
from dama.worker.worker import Worker


async def work(seconds: float, queues: list[str]) -> None:
    """Until it is killed."""
    config = load_config()
    registry = Registry()
    registry.load_modules(config.services, config.project)
    async with App.open(config, registry) as app:
        worker = Worker(app.store, registry, queues=queues, park_after=seconds)
        async with worker.working():
            await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(work(float(sys.argv[1]), sys.argv[2:]))
