"""The loads of docs/concepts/comparison.md: ours may be no longer than those of DBOS."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/concepts/comparison.md").read_text()
PIPELINES = ["readings", "months", "invoices"]


def statements(text):
    """How many there are, imports and definitions included, docstrings left out."""
    return sum(
        isinstance(node, ast.stmt)
        and not (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant))
        for node in ast.walk(ast.parse(text))
    )


@pytest.mark.parametrize("name", PIPELINES)
def test_a_pipeline_has_at_most_a_tenth_more_statements_than_in_dbos(name):
    ours = statements((ROOT / f"examples/pipelines/{name}.py").read_text())
    theirs = statements(PAGE.split(f"## {name.capitalize()}\n\n```python\n")[1].split("```")[0])
    row = re.search(rf"^\| \[`{name}`\].*?\| (\d+) \| (\d+) \|", PAGE, re.MULTILINE)

    assert ours <= 1.1 * theirs
    assert row is not None
    assert row.groups() == (str(ours), str(theirs))
