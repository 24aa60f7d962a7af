"""Start an embedded PostgreSQL where the kernel refuses user namespaces, as in many containers.

Run as `python refusing_namespaces.py HOME [BINARIES]`; prints the URL.
"""

import ctypes
import errno
import platform
import struct
import sys
from pathlib import Path

from dama.embedded import EmbeddedPostgres
from dama.errors import DamaError

PR_SET_SECCOMP = 22
SECCOMP_MODE_FILTER = 2
LOAD, IF_EQUAL, RETURN = 0x20, 0x15, 0x06
REFUSE, ALLOW = 0x00050000, 0x7FFF0000
UNSHARE = {"x86_64": 272, "aarch64": 97}


def refuse_unshare() -> None:
    """Let `unshare` fail in this process and in all that it starts."""
    steps = [
        (LOAD, 0, 0, 0),
        (IF_EQUAL, 0, 1, UNSHARE[platform.machine()]),
        (RETURN, 0, 0, REFUSE | errno.EPERM),
        (RETURN, 0, 0, ALLOW),
    ]
    code = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *step) for step in steps))
    program = ctypes.create_string_buffer(struct.pack("HP", len(steps), ctypes.addressof(code)))
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, program, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "seccomp")


if __name__ == "__main__":
    refuse_unshare()
    home, binaries = Path(sys.argv[1]), Path(sys.argv[2]) if sys.argv[2] else None
    try:
        print(EmbeddedPostgres(home, binaries=binaries).start())  # noqa: T201 - for the test
    except DamaError as error:
        sys.exit(f"{error} {error.hint}")
