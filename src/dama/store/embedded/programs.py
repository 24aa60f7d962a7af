"""The programs of PostgreSQL, run under the account that the server has.

They see nothing of libpq's environment and speak English, since their words are looked at.
"""

from __future__ import annotations

import os
import subprocess
import sys
from typing import IO, TYPE_CHECKING, Any

from dama.store.embedded import launcher

if TYPE_CHECKING:
    from pathlib import Path

    from dama.store.embedded.account import Account


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
        return subprocess.run(  # noqa: S603 - the server's own programs
            [*self._launcher(), str(self._binaries / program), *map(str, arguments)],
            input=stdin, capture_output=True, text=True, errors="replace", check=False,
            cwd="/", env=_environment(),
        )  # fmt: skip

    def leave(self, program: str, *arguments: str | Path, log: IO[Any], fence: int) -> None:
        """Start a program that outlives this process and holds the fence as long as it lives.

        It inherits nothing else, so that no pipe of a shell waits for it.
        """
        program = str(self._binaries / program)
        subprocess.run(  # noqa: S603 - the server's own programs
            [*self._launcher(), launcher.DETACH, program, *map(str, arguments)],
            stdin=subprocess.DEVNULL, stdout=log, stderr=log, check=False,
            cwd="/", env=_environment(), pass_fds=(fence,),
        )  # fmt: skip

    def _launcher(self) -> list[str]:
        return [sys.executable, "-I", "-S", launcher.__file__, self._account.word]


def _environment() -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PG")}
    return kept | {"LC_ALL": "C"}
