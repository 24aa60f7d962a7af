"""What the shim of a dbt program starts: `python -m dama.dbt COMMAND`."""

from __future__ import annotations

import os
import sys

from dama.dbt.invocation import Invocation


def main() -> int:
    """Run dbt; return the exit code of the program."""
    command = sys.argv[1:]
    try:
        ended = Invocation(command, os.environ).perform()
    except OSError as error:
        sys.stderr.write(f"{error.filename or command[0]}: {error.strerror}.\n")
        return 127
    if ended < 0:  # whoever looks at this process sees what became of dbt
        os.kill(os.getpid(), -ended)
    return ended


sys.exit(main())
