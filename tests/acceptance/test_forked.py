"""`tests.forked`: what stands for `dama` in most tests is to be killed as `dama` is."""

import marshal
import socket
import subprocess
from contextlib import suppress
from pathlib import Path

from tests.integration.programs import wait_until


def processes_in(folder):
    """Those whose current folder it is."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if (process / "cwd").readlink() == folder:
                found.append(int(process.name))
    return found


def test_a_caller_that_is_killed_ends_its_command(forked, database_url, tmp_path):
    """Else workers that nobody knows of would claim what later tests start."""
    environ = forked.environ(DAMA_DATABASE_URL=database_url)
    caller = subprocess.Popen([forked.dama, "worker"], cwd=tmp_path, env=environ)
    wait_until(lambda: len(processes_in(tmp_path)) > 1)

    caller.kill()
    caller.wait()

    wait_until(lambda: not processes_in(tmp_path), "the end of the worker")


def test_a_caller_that_goes_before_it_is_answered_ends_its_command_too(
    forked, database_url, tmp_path
):
    """It was killed while its command began."""
    environ = forked.environ(DAMA_DATABASE_URL=database_url)
    asked = {"argv": ["dama", "worker"], "cwd": str(tmp_path), "environ": environ, "umask": 0o77}
    data = marshal.dumps(asked)
    with socket.socket(socket.AF_UNIX) as caller, (tmp_path / "log").open("w") as log:
        caller.connect(forked.address)
        caller.shutdown(socket.SHUT_RD)  # no answer reaches it
        socket.send_fds(caller, [len(data).to_bytes(4), data], [log.fileno()] * 3)
        wait_until(lambda: processes_in(tmp_path))

    wait_until(lambda: not processes_in(tmp_path), "the end of the worker")
