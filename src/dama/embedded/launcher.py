"""The launcher: a small program that gives up being root, then becomes a program of PostgreSQL.

PostgreSQL refuses to run as root. Root runs it in a user namespace of one entry: inside it the
process has uid 1, outside it is root, so the files stay root's and no second account, chown or
chmod is needed. Where namespaces are refused it becomes another user. Run as
`python -I -S launcher.py ACCOUNT [--detach] PROGRAM ARGUMENT...`, standard library only, so that it
is a clean process: unsharing in a process with threads is refused. ACCOUNT is `self`, `namespace`
or `UID:GID`; without a program it only says whether the account can be had.
"""

import ctypes
import os
import resource
import sys
from contextlib import suppress
from pathlib import Path

CLONE_NEWUSER = 0x10000000
INSIDE = 1
SELF = "self"
NAMESPACE = "namespace"
DETACH = "--detach"
REFUSED = 97  # the exit code that says: this account cannot be had here


def become(account: str) -> None:
    """Change to an account.

    Raises:
        OSError: The kernel or the container refuses.
    """
    if account == NAMESPACE:
        enter_namespace()
    elif account != SELF:
        uid, gid = map(int, account.split(":"))
        os.setgroups([])
        os.setgid(gid)
        os.setuid(uid)


def enter_namespace() -> None:
    """Become uid 1 of a namespace of its own.

    Raises:
        OSError: The kernel or the container refuses.
    """
    uid, gid = os.getuid(), os.getgid()
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(CLONE_NEWUSER) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    Path("/proc/self/setgroups").write_text("deny")
    Path("/proc/self/uid_map").write_text(f"{INSIDE} {uid} 1")
    Path("/proc/self/gid_map").write_text(f"{INSIDE} {gid} 1")


def detach() -> None:
    """Continue in a session of its own, as nobody's child: its end leaves no zombie here."""
    if os.fork():
        os._exit(0)
    os.setsid()
    shed_limits()


def shed_limits() -> None:
    """Keep nothing of the limits of a program in which a command started the server."""
    for name in ("RLIMIT_AS", "RLIMIT_DATA", "RLIMIT_CPU", "RLIMIT_FSIZE", "RLIMIT_NOFILE"):
        number = getattr(resource, name)
        _, most = resource.getrlimit(number)
        with suppress(OSError, ValueError):
            resource.setrlimit(number, (most, most))
    with suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("0")
    with suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, 0, 0)


def main(arguments: list[str]) -> None:
    """Become the program that is named after the account."""
    account, *command = arguments
    try:
        become(account)
    except OSError as error:
        sys.stderr.write(f"no account {account}: {error}\n")
        sys.exit(REFUSED)
    if command[:1] == [DETACH]:
        command = command[1:]
        detach()
    if command:
        os.execv(command[0], command)  # noqa: S606 - this is its work


if __name__ == "__main__":
    main(sys.argv[1:])
