"""What can go wrong with the embedded PostgreSQL, each in one sentence for a person."""

from __future__ import annotations

from dama.errors import UnavailableError


class EmbeddedPostgresError(UnavailableError):
    """The embedded PostgreSQL can not be used."""

    code = "EMBEDDED_POSTGRES"
    retryable = False


class NoBinariesError(EmbeddedPostgresError):
    """No PostgreSQL server is installed."""


class UnwritableHomeError(EmbeddedPostgresError):
    """The home folder can not be written."""


class SocketPathError(EmbeddedPostgresError):
    """No folder is short enough, or safe enough, for the server's socket."""


class StartError(EmbeddedPostgresError):
    """The server did not start."""


class VersionMismatchError(EmbeddedPostgresError):
    """The data were written by another major version of PostgreSQL."""
