"""The environment of the peers: `.venv/peers`, made where it is missing or its pins changed."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
REQUIREMENTS = Path("benchmarks/peers/requirements.txt")
FOLDER = Path(".venv/peers")


def make() -> Path | None:
    """The interpreter that can import the peers; None where they cannot be installed."""
    python = ROOT / FOLDER / "bin/python"
    installed = ROOT / FOLDER / "installed"
    wanted = (ROOT / REQUIREMENTS).read_text()
    if installed.exists() and installed.read_text() == wanted:
        return python
    for arguments in (["create", sys.executable], ["install", str(REQUIREMENTS)]):
        done = subprocess.run(
            ["sh", "tools/environment", *arguments],
            cwd=ROOT,
            env={**os.environ, "ENVIRONMENT": str(FOLDER)},
            check=False,
        )
        if done.returncode:
            return None
    installed.write_text(wanted)
    return python
