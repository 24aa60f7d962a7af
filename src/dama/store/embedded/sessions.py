"""Sessions: whether anybody is connected to the server."""

from __future__ import annotations

import time

import psycopg

from dama.store.embedded.home import POLL_SECONDS
from dama.store.statements import statement

# How long the server may take to see that a connection was closed.
LINGER_SECONDS = 1.0


def is_used(url: str) -> bool:
    """Whether somebody else is connected, and stays; True when the server does not say."""
    deadline = time.monotonic() + LINGER_SECONDS
    try:
        with psycopg.connect(url, autocommit=True) as connection:
            while _others(connection):
                if time.monotonic() > deadline:
                    return True
                time.sleep(POLL_SECONDS)
    except psycopg.Error:
        return True
    return False


def _others(connection: psycopg.Connection[tuple[int]]) -> int:
    ((count,),) = connection.execute(statement("count_sessions")).fetchall()
    return count
