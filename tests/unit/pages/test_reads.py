"""Pages reach the database through `dama.operations` only: what they show, others can show too."""

from __future__ import annotations

import ast
from pathlib import Path

import dama.pages

FOLDER = Path(dama.pages.__file__).parent
# Words that its rows, filters and errors are written with; nothing in them reads or writes.
WORDS = {"dama.store.errors", "dama.store.rows", "dama.store.tokens", "dama.store.windows"}


def test_no_page_reads_or_writes_the_store_itself():
    found: list[str] = []
    for file in sorted(FOLDER.glob("*.py")):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Attribute) and node.attr == "store":
                found.append(f"{file.name}:{node.lineno}: .store")
            module = str(node.module) if isinstance(node, ast.ImportFrom) else ""
            if module.startswith("dama.store") and module not in WORDS:
                found.append(f"{file.name}:{node.lineno}: {module}")
    templates = [file for file in FOLDER.glob("templates/*.html") if ".store" in file.read_text()]
    assert not found
    assert not templates
