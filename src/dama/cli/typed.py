"""Commands that a person is told to type: they mean the environment that was chosen."""

from __future__ import annotations

import re
import shlex

_COMMAND = re.compile(r"(^|`|: )dama (?=[a-z])", re.MULTILINE)


def typed(text: str, pg_env: str | None) -> str:
    """A text whose commands name an environment, where one was chosen with `--pg-env`.

    Without it they would mean the first one, in which the same ids are other contexts.
    """
    if pg_env is None:
        return text
    return _COMMAND.sub(lambda found: f"{found[1]}dama --pg-env {shlex.quote(pg_env)} ", text)
