"""Errors of bundles."""

from __future__ import annotations

from dama.errors import UsageError


class BundleError(UsageError):
    """A file is no bundle, is damaged, or cannot be written."""

    code = "BUNDLE"
