"""Public names: what a release before offered can still be imported, and is what it was."""

import subprocess
import sys

import pytest

import dama

# What `dama` had when its layout was settled. A name may be added here, and none taken away.
NAMES = {
    "ABSENT",
    "Broker",
    "BrokerOptions",
    "Call",
    "CallError",
    "Client",
    "DamaError",
    "DivergedError",
    "Event",
    "Handle",
    "Part",
    "Retry",
    "RunError",
    "Service",
    "Slice",
    "StoredEvent",
    "Stream",
    "SubtaskError",
    "SyncClient",
    "SyncHandle",
    "SyncTask",
    "Task",
    "TaskDefinition",
    "WaitTimeoutError",
    "combine",
    "connect",
    "each",
    "frame",
    "start_many",
}
# What the pages told people to import from elsewhere.
ELSEWHERE = [
    "from dama.store import LogFilter, Store",
    "from dama.testing import run",
    "from dama.run.errors import ProgramError, ProgramLostError, Retry",
]


def test_no_public_name_is_gone():
    assert set(dama.__all__) >= NAMES
    assert all(getattr(dama, name) is not None for name in dama.__all__)


def test_what_is_caught_by_its_class_still_is_one():
    """Callers catch these; each has the root, the exit code and the code that it had."""
    codes = {
        "CallError": ("CALL_FAILED", 1),
        "RunError": ("RUN", 1),
        "SubtaskError": ("SUBTASK", 1),
        "DivergedError": ("DIVERGED", 2),
        "Retry": ("RETRY", 1),
        "WaitTimeoutError": ("WAIT_TIMEOUT", 1),
    }
    for name, expected in codes.items():
        error = getattr(dama, name)
        assert issubclass(error, dama.DamaError), name
        assert (error.code, error.exit_code) == expected, name


@pytest.mark.parametrize("statement", ELSEWHERE)
def test_what_the_pages_name_is_imported_without_a_warning(statement):
    subprocess.run([sys.executable, "-W", "error", "-c", statement], check=True)
