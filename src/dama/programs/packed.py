"""The packed shim: its code as one file, for the directory of each run.

It has bytecode, which takes less memory and begins sooner than what is compiled at each start, and
the source: for people, and for a Python that is another than the worker's by then.
"""

from __future__ import annotations

import importlib.util
import io
import marshal
import zipfile
from functools import cache
from pathlib import Path

from dama.programs import shim

NAME = "shim.pyz"
EARLIER = "shim.py"  # of programs that an earlier version started
# What its interpreter executes with the file and the directory as arguments. The file is on
# the path for that long only: what a program puts in its place is never loaded.
START = (
    "import sys; sys.path.insert(0, sys.argv[1]); from shim.supervisor import main; "
    "del sys.path[0]; sys.exit(main())"
)
# The head of bytecode that is not compared with its source (PEP 552).
_HEAD = importlib.util.MAGIC_NUMBER + (1).to_bytes(4, "little") + bytes(8)


@cache
def packed_shim() -> bytes:
    """What is in the file."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as file:
        for source in sorted(Path(shim.__file__).parent.glob("*.py")):
            name, text = f"shim/{source.stem}", source.read_bytes()
            code = compile(text, f"{name}.py", "exec", dont_inherit=True, optimize=2)
            file.writestr(f"{name}.pyc", _HEAD + marshal.dumps(code))
            file.writestr(f"{name}.py", text, zipfile.ZIP_DEFLATED)
    return content.getvalue()
