"""What the shim of a tap starts: `python -m dama.taps TASK`, told all else by its environment."""

from __future__ import annotations

import json
import logging
import os
import sys
from pathlib import Path

import msgspec

from dama.config.private_file import private
from dama.data.copying import BadRowError
from dama.definitions.command import WORK_DIR
from dama.definitions.tap import WORTHLESS
from dama.domain.secrets import Secrets, passwords_in
from dama.errors import DamaError
from dama.store.database import Database
from dama.taps.loader import Loader, Order
from dama.taps.process import OWN
from dama.taps.source import TapFailedError

DATABASE = f"{OWN}_DATABASE"


def main() -> int:
    """Load what a tap extracts; return the exit code of the program."""
    logging.basicConfig(format="%(message)s", level=logging.WARNING, stream=sys.stderr)
    path, conninfo = Path(os.environ[OWN]), os.environ[DATABASE]
    order = msgspec.json.decode(path.read_bytes(), type=Order)
    secrets = {name: os.environ[name] for name in order.secrets}
    values = {**order.params, WORK_DIR: os.environ["DAMA_WORKDIR"], **secrets}
    try:
        result = Loader(
            order,
            Database(conninfo, is_pooled=order.is_pooled),
            values,
            Secrets([*secrets.values(), *passwords_in(conninfo)]),
            path.parent,
            Path(os.environ["DAMA_EVENTS"]),
        ).load()
    except TapFailedError as error:
        if error.ended < 0:  # whoever looks at this process sees what became of the tap
            os.kill(os.getpid(), -error.ended)
        return error.ended
    except DamaError as error:
        sys.stderr.write(f"{error.message} {error.hint or ''}".rstrip() + "\n")
        return WORTHLESS if error.is_final or isinstance(error, BadRowError) else 1
    with open(os.environ["DAMA_RESULT"], "w", encoding="utf-8", opener=private) as file:
        json.dump(result, file)
    return 0


sys.exit(main())
