"""Sending events of OpenLineage, by the transports of its library."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from openlineage.client import OpenLineageClient

from dama.openlineage.errors import RefusedEventError, TransportError, UnsentError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from openlineage.client.event_v2 import RunEvent

    from dama.openlineage.settings import OpenLineageSettings

REFUSALS = frozenset({400, 413, 422})  # what another try would not mend
_LOGIN = re.compile(r"(?<=://)[^/@\s]+@")


class Sender:
    """Sends events, one after the other.

    Args:
        settings: Where they go.

    Raises:
        TransportError: The library does not take the settings.
    """

    def __init__(self, settings: OpenLineageSettings) -> None:
        self.where = _where(settings)
        try:
            self._client = OpenLineageClient(config=settings.of_library())
        except Exception as error:  # each transport has errors of its own
            raise TransportError(_why(error)) from error

    def send(self, events: Iterable[RunEvent]) -> None:
        """Send events in their order; blocking.

        Args:
            events: What is sent.

        Raises:
            UnsentError: One could not be sent; it and those after it are to be sent again.
            RefusedEventError: One was refused for what it is.
        """
        for event in events:
            try:
                self._client.emit(event)
            except Exception as error:
                if _status(error) in REFUSALS:
                    raise RefusedEventError(self.where, _why(error)) from error
                raise UnsentError(self.where, _why(error)) from error


def _where(settings: OpenLineageSettings) -> str:
    """Where events go, for messages."""
    transport = settings.transport
    found: Any = transport.get("url") or transport.get("log_file_path") or transport["type"]
    return _LOGIN.sub("", str(found))


def _status(error: Exception) -> int | None:
    """The status of an answer of HTTP; None where there was none."""
    status: object = getattr(getattr(error, "response", None), "status_code", None)
    return status if isinstance(status, int) else None


def _why(error: Exception) -> str:
    text = " ".join(_LOGIN.sub("", str(error)).split()).rstrip(".")
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
