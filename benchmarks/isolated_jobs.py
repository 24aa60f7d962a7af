"""Tasks for the benchmark of programs: with and without a process of their own."""

import time

from dama import Service

isolated = Service("isolated")


@isolated.task(isolation="process")
def nothing(_: object) -> None:
    """Do nothing, in a process."""


@isolated.task
def thread(_: object) -> None:
    """Do nothing, in a thread."""


@isolated.task(isolation="process")
def idle(_: object) -> None:
    """Be there."""
    time.sleep(4)
