"""`dama` without its start: a process that has imported it forks for each command.

The files of a project are read by each command as always, and its environment, folder, umask and
terminal are those of the caller. For tests that type many commands, each of which would take a
second of importing. Nothing of dama is replaced: the child calls the entry point of the command. A
caller that is killed ends its command, as if it were the command itself.
"""

import os
import subprocess
import sys
from pathlib import Path

SERVER = '''
"""Forks for each command that comes by the socket."""
import marshal, os, select, signal, socket, sys
from contextlib import suppress

import dama.app, dama.cli.follow, dama.cli.printed, dama.cli.root, dama.gateway.server  # noqa
import dama.broker.tracing, dama.shipped.node, dama.store.schema, pydantic.main, rich.live  # noqa
import dama.broker.broker, dama.shipped.contexts, dama.shipped.log, dama.shipped.operations  # noqa
import dama.operations.tokens, dama.shipped.tasks, dama.shipped.upkeep, encodings.idna  # noqa
import dama.cli.answers, dama.cli.json_input, dama.cli.numbers, dama.cli.param_options  # noqa
import dama.cli.settings, importlib.resources.readers, pydantic.type_adapter  # noqa
import dama.launchers.settings, dama.programs.adoption, dama.worker.worker, statistics  # noqa
import dama.cli.commands.run, dama.cli.commands.call, dama.cli.commands.ls  # noqa
import dama.cli.commands.events, dama.cli.commands.show, dama.cli.commands.worker  # noqa
import dama.cli.tell, dama.launchers.in_job, dama.shipped.tables, dama.signals  # noqa
import importlib.readers  # noqa
from dama.cli import main


def receive(connection):
    """What is to be run, and the three files of its standard streams."""
    data, fds, _, _ = socket.recv_fds(connection, 1 << 20, 3)
    while len(data) < 4 or len(data) < 4 + int.from_bytes(data[:4]):
        more = connection.recv(1 << 20)
        if not more:
            os._exit(0)  # who asked was killed meanwhile
        data += more
    return marshal.loads(data[4:]), fds


def perform(connection):
    request, fds = receive(connection)
    pid = os.fork()
    if pid == 0:
        server.close()
        connection.close()
        for place, descriptor in enumerate(fds):
            os.dup2(descriptor, place)
        os.chdir(request["cwd"])
        os.umask(request["umask"])
        os.environ.clear()
        os.environ.update(request["environ"])
        sys.argv = request["argv"]
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        code = main(request["argv"][1:])
        sys.stdout.flush()
        os._exit(code)
    with suppress(OSError):  # it may be gone already, as it is found to be below
        connection.sendall(f"{pid}\\n".encode())
    ends = select.poll()
    ends.register(ended := os.pidfd_open(pid), select.POLLIN)
    ends.register(connection, 0)  # tells that the caller is gone
    if ended not in dict(ends.poll()):
        os.kill(pid, signal.SIGKILL)
        os._exit(0)
    status = os.waitpid(pid, 0)[1]
    with suppress(OSError):
        connection.sendall(f"{os.waitstatus_to_exitcode(status)}\\n".encode())
    os._exit(0)


server = socket.socket(socket.AF_UNIX)
server.bind(sys.argv[1])
server.listen(16)
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
signal.signal(signal.SIGINT, signal.SIG_IGN)
print("ready", flush=True)
while True:
    connection, _ = server.accept()
    if os.fork() == 0:  # waits for the command, which is its child
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        perform(connection)
    connection.close()
'''
COMMAND = '''#!{python} -IS
"""dama, as a child of a process that has imported it. Imports little: it is started very often."""
import marshal, os, _signal, _socket, sys

connection = _socket.socket(_socket.AF_UNIX)
connection.connect({socket!r})
request = {{"argv": ["dama", *sys.argv[1:]], "cwd": os.getcwd(),
           "environ": dict(os.environ), "umask": os.umask(0)}}
data = marshal.dumps(request)
data = len(data).to_bytes(4) + data
streams = b"".join(number.to_bytes(4, sys.byteorder) for number in (0, 1, 2))
sent = connection.sendmsg([data], [(_socket.SOL_SOCKET, _socket.SCM_RIGHTS, streams)])
connection.sendall(data[sent:])


def answer():
    line = b""
    while not line.endswith(b"\\n") and (byte := connection.recv(1)):
        line += byte
    return line


pid = int(answer())


def forward(number, _):
    os.kill(pid, number)


for number in (_signal.SIGINT, _signal.SIGTERM, _signal.SIGHUP):
    _signal.signal(number, forward)
code = int(answer() or 70)
os._exit(code if code >= 0 else 128 - code)
'''


class Forked:
    """The command, and the process behind it.

    Args:
        folder: Where both are; its path is short enough for a socket.

    Attributes:
        address: Of the socket that is asked for a command.
        bin: A folder for PATH, which has the command `dama`.
    """

    def __init__(self, folder: Path) -> None:
        self.bin = folder / "bin"
        self.bin.mkdir()
        self.address = str(folder / "s")
        command = self.bin / "dama"
        command.write_text(COMMAND.format(python=sys.executable, socket=self.address))
        command.chmod(0o755)
        self._server = subprocess.Popen(
            [sys.executable, "-P", "-c", SERVER, self.address], stdout=subprocess.PIPE, text=True
        )
        assert self._server.stdout.readline() == "ready\n"

    @property
    def dama(self) -> str:
        """The path of the command."""
        return str(self.bin / "dama")

    def environ(self, **changes: str) -> dict[str, str]:
        """The environment in which `dama` is this command."""
        path = f"{self.bin}:{Path(sys.executable).parent}:{os.environ['PATH']}"
        return {**os.environ, "PATH": path, **changes}

    def close(self) -> None:
        """End the process; commands that run continue."""
        self._server.kill()
        self._server.wait()
        self._server.stdout.close()
