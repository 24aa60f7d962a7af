"""The pages that are made from the code are those of the code."""

import subprocess
import sys
from pathlib import Path

import pytest

import dama
from dama.broker.errors import CallError
from dama.config.config import FILE_KEYS
from dama.definitions.declaration import PROGRAM_KEYS
from dama.gateway.settings import KEYS as GATEWAY_KEYS
from dama.shipped.node_settings import SETTINGS as BROKER_KEYS

ROOT = Path(__file__).parents[2]
REFERENCE = ROOT / "docs" / "reference"


def test_the_pages_are_those_of_the_code():
    """Otherwise `make reference` was forgotten after a change of a docstring or a setting."""
    done = subprocess.run(
        [sys.executable, ROOT / "tools" / "reference.py", "--check"],
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stdout + done.stderr


def test_every_public_name_has_its_entry():
    page = (REFERENCE / "api.md").read_text("utf-8")

    missing = [name for name in dama.__all__ if f"\n### {name}\n" not in page]

    assert not missing
    assert CallError.__doc__.splitlines()[0] in page


@pytest.mark.parametrize(
    "keys",
    [FILE_KEYS, GATEWAY_KEYS, BROKER_KEYS, PROGRAM_KEYS],
    ids=["file", "gateway", "broker", "program"],
)
def test_every_setting_has_its_row(keys):
    page = (REFERENCE / "settings.md").read_text("utf-8")

    assert not [key for key in keys if f"\n| `{key}` | " not in page]
