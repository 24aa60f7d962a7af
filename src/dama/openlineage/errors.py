"""Errors of OpenLineage."""

from __future__ import annotations

from dama.errors import DamaError, UsageError
from dama.store.errors import NotNowError


class NotInstalledError(UsageError):
    """The library is not there."""

    code = "NOT_INSTALLED"

    def __init__(self) -> None:
        super().__init__(
            "[openlineage] is set, and the library of OpenLineage is not installed.",
            'pip install "dama-controller[openlineage]"',
        )


class TransportError(UsageError):
    """The library does not take the settings."""

    code = "OPENLINEAGE_TRANSPORT"

    def __init__(self, why: str) -> None:
        super().__init__(
            f"openlineage.transport of the settings cannot be used: {why}.",
            "Its keys are those of the library: docs/howto/openlineage.md.",
        )


class UnsentError(NotNowError):
    """An event could not be sent: all wait until it can."""

    code = "OPENLINEAGE_UNSENT"

    def __init__(self, where: str, why: str) -> None:
        super().__init__(
            f"Events of OpenLineage wait, since {where} does not take them: {why}.",
            "They are sent when it does, in their order; runs continue.",
        )


class RefusedEventError(DamaError):
    """An event was refused for what it is."""

    code = "OPENLINEAGE_REFUSED"

    def __init__(self, where: str, why: str) -> None:
        super().__init__(
            f"{where} refused an event of OpenLineage: {why}.",
            "`dama log resume openlineage CONTEXT` sends it again, with --skip it is left out.",
        )
