"""The pages of docs/concepts name files and folders that exist, and all folders there are."""

import re
from pathlib import Path

import pytest

import dama

ROOT = Path(__file__).parents[2]
SOURCE = Path(dama.__file__).parent
CONCEPTS = sorted((ROOT / "docs" / "concepts").glob("*.md"))
FILE = re.compile(r"`([\w./-]+\.(?:py|sql|js|toml))`")
OWN = {"dama.toml"}  # of a project


@pytest.mark.parametrize("page", CONCEPTS, ids=lambda page: page.stem)
def test_files_that_a_page_names_exist(page):
    """By their path in the checkout, or from `src/dama` on."""
    named = set(FILE.findall(page.read_text())) - OWN
    assert [n for n in sorted(named) if not any((at / n).exists() for at in (ROOT, SOURCE))] == []


def test_the_architecture_names_each_folder():
    """As a row of its table."""
    page = (ROOT / "docs" / "concepts" / "architecture.md").read_text()
    rows = set(re.findall(r"^\| `(\w+)` \|", page, re.MULTILINE))
    folders = {path.parent.name for path in SOURCE.glob("*/__init__.py")}
    assert folders <= rows | {"app"}
