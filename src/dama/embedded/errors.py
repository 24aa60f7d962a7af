"""What can go wrong with the embedded PostgreSQL, each in one sentence for a person."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

from dama.errors import UnavailableError

if TYPE_CHECKING:
    from pathlib import Path

FULL = {errno.ENOSPC, errno.EDQUOT}
FULL_WORDS = ("No space left on device", "Disk quota exceeded")
LAST_LINES = 5


class EmbeddedPostgresError(UnavailableError):
    """The embedded PostgreSQL cannot be used."""

    code = "EMBEDDED_POSTGRES"
    retryable = False


class NoBinariesError(EmbeddedPostgresError):
    """No PostgreSQL server is installed."""

    code = "EMBEDDED_POSTGRES_NO_BINARIES"


class UnwritableHomeError(EmbeddedPostgresError):
    """The home folder cannot be used."""

    code = "EMBEDDED_POSTGRES_UNWRITABLE_HOME"


class SocketPathError(EmbeddedPostgresError):
    """No folder is short enough, or safe enough, for the server's socket."""

    code = "EMBEDDED_POSTGRES_SOCKET_PATH"


class StartError(EmbeddedPostgresError):
    """The server did not start."""

    code = "EMBEDDED_POSTGRES_START"


class SlowStartError(StartError):
    """The server lives and is not ready yet, or has not ended yet; it is left alone."""

    code = "EMBEDDED_POSTGRES_SLOW_START"
    retryable = True


class ServerElsewhereError(EmbeddedPostgresError):
    """The server lives where no signal of this process reaches it."""

    code = "EMBEDDED_POSTGRES_ELSEWHERE"


class LostSocketError(EmbeddedPostgresError):
    """The server lives, and both names of its socket are gone; it is left alone."""

    code = "EMBEDDED_POSTGRES_LOST_SOCKET"


class DiskFullError(EmbeddedPostgresError):
    """The disk of the home folder is full."""

    code = "EMBEDDED_POSTGRES_DISK_FULL"

    def __init__(self, home: Path) -> None:
        super().__init__(
            f"The disk of {home} is full.",
            "Make room there, or name another folder with DAMA_HOME; nothing that was committed "
            "is lost.",
        )


class VersionMismatchError(EmbeddedPostgresError):
    """The data were written by another major version of PostgreSQL."""

    code = "EMBEDDED_POSTGRES_VERSION"


def home_error(home: Path, error: OSError) -> EmbeddedPostgresError:
    """What a refusal of the operating system means for a person."""
    if error.errno in FULL:
        return DiskFullError(home)
    return UnwritableHomeError(
        f"The folder {home} cannot be written: {error.strerror} ({error.filename}).",
        "Name another one with DAMA_HOME, or a database with DAMA_DATABASE_URL.",
    )


def start_error(home: Path, what: str, output: str, log: Path) -> EmbeddedPostgresError:
    """What the last words of a program of PostgreSQL mean; they are part of the message."""
    if any(words in output for words in FULL_WORDS):
        return DiskFullError(home)
    lines = [line for line in output.splitlines() if line.strip()][-LAST_LINES:]
    return StartError(
        "\n  ".join([f"The embedded PostgreSQL did not start: {what}.", *lines]),
        f"Its log is {log}. Another database can be named with DAMA_DATABASE_URL.",
    )
