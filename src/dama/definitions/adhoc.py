"""The task of programs that nobody declared: `dama run -- ./legacy.sh --year 2013`.

Who may start it, and how a worker knows, is in `dama.run.commands`.
"""

from __future__ import annotations

from typing import Any

from dama.definitions.service import Service
from dama.errors import InvalidDefinitionError

_service = Service("programs", description="Programs that nobody declared.")


@_service.task(name="run")
async def adhoc(
    _: object,
    command: list[str],
    cwd: str | None = None,
    env: dict[str, str] | None = None,
    inherit: list[str] | None = None,
) -> Any:
    """Run a program.

    Args:
        command: Its arguments, the program first. No shell reads them.
        cwd: Where it is started.
        env: Further environment variables.
        inherit: Names of further variables that it gets of the worker's environment.
    """
    raise InvalidDefinitionError(
        f"{command} is a program: a worker starts it.", f"{cwd}, {env}, {inherit}"
    )


adhoc.is_function = False
