"""Compile what the tests import, once, before they do so in many processes.

Where PYTHONDONTWRITEBYTECODE is set, as in many images, each process compiles for itself whatever
it imports; where it is not, those that start side by side in a new checkout do. With --tests the
files of the tests are compiled as well, as pytest rewrites them.
"""

from __future__ import annotations

import importlib
import os
import pkgutil
import subprocess
import sys

# What the tests import late or in other processes. Each takes a second or two to compile.
THEIRS = (
    "httpx",
    "hypothesis",
    "jsonschema",
    "nats",
    "openapi_spec_validator",
    "opentelemetry.sdk.trace.export",
    "pandas",
    "playwright.async_api",
    "pyarrow.parquet",
    "rich.live",
    "schemathesis.cli",
    "tree_sitter_bash",
    "xdist.remote",
)


def import_all() -> None:
    """Import all of dama, and what the tests need beside it and its dependencies."""
    import dama

    for module in pkgutil.walk_packages(dama.__path__, "dama."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    for name in THEIRS:
        try:
            importlib.import_module(name)
        except ImportError:  # what needs it says so
            continue


def collect() -> int:
    """Import all tests as pytest does, and run none; returns the status of the process."""
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "--collect-only", "--quiet"],
        env={**os.environ, "PYTHONDONTWRITEBYTECODE": ""}, stdout=subprocess.PIPE, check=False,
    )  # fmt: skip
    if done.returncode:
        sys.stderr.buffer.write(done.stdout)
    return done.returncode


if __name__ == "__main__":
    sys.dont_write_bytecode = False
    import_all()
    sys.exit(collect() if "--tests" in sys.argv else 0)
