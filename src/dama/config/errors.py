"""What is wrong with settings."""

from __future__ import annotations

from dama.errors import UsageError


class ConfigError(UsageError):
    """A setting is unknown, or a settings file is missing or cannot be read."""

    code = "CONFIG"
