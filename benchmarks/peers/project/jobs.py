"""The tasks of dama in the benchmark of the peers."""

from dama import Service, Task

STEPS = 10

jobs = Service("jobs")


@jobs.task
async def noop(task: Task) -> None:
    """Do nothing."""


async def _nothing() -> int:
    return 1


@jobs.task
async def steps(task: Task) -> None:
    """Do nothing, durably, ten times."""
    for number in range(STEPS):
        await task.step(f"step{number}", _nothing)


@jobs.task
async def fan_out(task: Task, count: int) -> None:
    """Start subtasks and wait for all."""
    await task.map(noop, [{}] * count)
