"""The token of a home: `$DAMA_HOME/gateway.token`, with which its user calls the gateway.

Other people have accounts on the same machine, so loopback is not a proof of who calls. A gateway
makes the token at its start and says where it is, never what it is. One home may serve several
databases: each of them knows the digest of the same token.
"""

from __future__ import annotations

import asyncio
import fcntl
import getpass
import hashlib
import logging
import os
import platform
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from dama.config.private_file import PrivateFileError, make_private, read_private, write_private
from dama.errors import DamaError

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator
    from pathlib import Path

    from dama.app import App

NAME = "gateway.token"
ADDRESS = "gateway.address"
_log = logging.getLogger("dama.gateway")


async def ensure_token(app: App) -> Path:
    """Give the home of an app a token of scope admin, unless it has a valid one; returns its file.

    Raises:
        PrivateFileError: It cannot be kept there.
    """
    path = app.home / NAME
    try:
        async with _alone(app.home):
            kept = _kept(path)
            found = await app.store.tokens.find(kept) if kept else None
            if found is None or not found.may("admin") or found.services is not None:
                text = await app.store.tokens.renew(_name(app.home), getpass.getuser(), kept)
                if text != kept:
                    write_private(path, f"{text}\n".encode(), replace=True)
    except OSError as error:
        raise PrivateFileError(
            f"The token of the gateway cannot be kept in {path}: {error.strerror}.",
            "Set DAMA_HOME to a folder of this user; or tokens = false in [gateway].",
        ) from error
    return path


def note_address(home: Path, address: str) -> None:
    """Leave in a home where its latest gateway is, for `dama open`."""
    try:
        write_private(home / ADDRESS, f"{address}\n".encode(), replace=True)
    except OSError as error:
        _log.warning("the address of the gateway cannot be kept: %s", error.strerror)


def _kept(path: Path) -> str | None:
    try:
        return (read_private(path) or b"").decode("ascii").strip() or None
    except (DamaError, UnicodeDecodeError) as error:
        _log.warning("another token replaces that of the gateway: %s", error)
        return None


def _name(home: Path) -> str:
    """One name for each home: who calls with its token is the user of it."""
    place = hashlib.sha256(str(home).encode()).hexdigest()[:8]
    return f"{getpass.getuser()}@{platform.node()}/{place}"


@asynccontextmanager
async def _alone(home: Path) -> AsyncGenerator[None]:
    """Gateways of one home that start at once take turns, so that the file has the valid token."""
    make_private(home)
    descriptor = os.open(home, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        await asyncio.to_thread(fcntl.flock, descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
