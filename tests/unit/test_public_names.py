"""Public names: what a release before offered can still be imported, and is what it was."""

import subprocess
import sys

import pytest

import dama

# What `dama`, and the modules that the pages name, have had. A name may be added here, and none
# taken away: one that moves is imported from where it was, with a warning, for one release.
NAMES = {
    "ABSENT",
    "Answer",
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
    "StepDefinition",
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
    "settings",
    "start_many",
    "step",
}
# What the pages told people to import from elsewhere.
ELSEWHERE = [
    "from dama.data import Copied, copy_into",
    "from dama.store import Append, Appended, Claim, ContextRow, LogFilter, Outcome, RunRow, Start",
    "from dama.store import Store",
    "from dama.testing import Ran, Replayed, Scenario, StuckError, given, replay, run",
    "from dama.testing import run_through_crashes",
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


def test_what_the_pages_name_is_imported_without_a_warning():
    subprocess.run([sys.executable, "-W", "error", "-c", "\n".join(ELSEWHERE)], check=True)


def test_a_service_is_still_its_own_command_line(capsys):
    """`Service.main` is what files of tasks end with."""
    with pytest.raises(SystemExit) as ended:
        dama.Service("flights").main(["--help"])

    assert ended.value.code == 0
    assert "Usage:" in capsys.readouterr().out
