"""The launcher: a small program that gives up being root, then becomes PostgreSQL.

PostgreSQL refuses to run as root. Root runs it in a user namespace of one entry: inside it the
process has uid 1, outside it is root, so the files stay root's and no second account, chown or
chmod is needed. Where namespaces are refused it becomes another account instead. Run as
`python -I -S launcher.py UID:GID|- PROGRAM ARGUMENT...`, standard library only, so that it is a
clean process: unsharing in a process with threads is refused.
"""

import ctypes
import os
import sys
from pathlib import Path

CLONE_NEWUSER = 0x10000000
INSIDE = 1
REFUSED = 97  # the exit code that says: no namespaces here


def enter_namespace() -> None:
    """Become uid 1 of a namespace of its own.

    Raises:
        OSError: The kernel or the container refuses.
    """
    uid, gid = os.getuid(), os.getgid()
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(CLONE_NEWUSER) != 0:
        raise OSError(ctypes.get_errno(), "unshare")
    Path("/proc/self/setgroups").write_text("deny")
    Path("/proc/self/uid_map").write_text(f"{INSIDE} {uid} 1")
    Path("/proc/self/gid_map").write_text(f"{INSIDE} {gid} 1")


def become(account: str) -> None:
    """Become another account, given as UID:GID, for good."""
    uid, gid = map(int, account.split(":"))
    os.setgroups([])
    os.setgid(gid)
    os.setuid(uid)


def main(account: str, command: list[str]) -> None:
    """Give up being root, then become the program."""
    try:
        if account == "-":
            enter_namespace()
        else:
            become(account)
    except OSError as error:
        sys.stderr.write(f"root could not be given up: {error}\n")
        sys.exit(REFUSED)
    os.execv(command[0], command)  # noqa: S606 - this is its work


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
