"""The programs of PostgreSQL, run under the account that the server has.

They are given little of the environment: no settings of libpq, no secrets, nothing by which a
server would count as part of the program in which a command started it. They speak English, since
their words are looked at.
"""

from __future__ import annotations

import os
import subprocess
import sys
from typing import IO, TYPE_CHECKING, Any

from dama.embedded import launcher

if TYPE_CHECKING:
    from pathlib import Path

    from dama.embedded.account import Account

KEPT = ("PATH", "HOME", "USER", "LOGNAME", "TMPDIR", "TZ", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH")


class Programs:
    """`postgres`, `initdb` and their like.

    Args:
        binaries: Their folder.
        account: Who runs them.
    """

    def __init__(self, binaries: Path, account: Account) -> None:
        self._binaries = binaries
        self._account = account

    def run(
        self, program: str, *arguments: str | Path, stdin: str = ""
    ) -> subprocess.CompletedProcess[str]:
        """Run a program to its end."""
        return subprocess.run(
            [*self._launcher(), str(self._binaries / program), *map(str, arguments)],
            input=stdin, capture_output=True, text=True, errors="replace", check=False,
            cwd="/", env=_environment(),
        )  # fmt: skip

    def leave(self, program: str, *arguments: str | Path, log: IO[Any], fence: int) -> None:
        """Start a program that outlives this process and holds the fence as long as it lives.

        It inherits nothing else, so that no pipe of a shell waits for it.
        """
        program = str(self._binaries / program)
        subprocess.run(
            [*self._launcher(), launcher.DETACH, program, *map(str, arguments)],
            stdin=subprocess.DEVNULL, stdout=log, stderr=log, check=False,
            cwd="/", env=_environment(), pass_fds=(fence,),
        )  # fmt: skip

    def _launcher(self) -> list[str]:
        return [sys.executable, "-I", "-S", launcher.__file__, self._account.word]


def _environment() -> dict[str, str]:
    kept = {name: os.environ[name] for name in KEPT if name in os.environ}
    return kept | {"LC_ALL": "C"}
