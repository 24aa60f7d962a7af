"""The host: which unit of systemd a process belongs to."""

import os
import subprocess
import sys

import pytest

from dama.programs.run_directory import RunDirectories
from dama.upkeep.host import Unit, adrift, unit_of, units_of


@pytest.mark.parametrize(
    ("cgroup", "unit"),
    [
        ("0::/system.slice/dama-worker.service\n", Unit("dama-worker.service")),
        (
            "0::/user.slice/user-1000.slice/user@1000.service/app.slice/dama.service\n",
            Unit("dama.service", is_user=True),
        ),
        ("0::/user.slice/user-1000.slice/user@1000.service\n", None),
        ("0::/user.slice/user-1000.slice/session-2.scope\n", None),
        ("5:cpu:/\n1:name=systemd:/system.slice/dama.service\n0::/\n", Unit("dama.service")),
        ("0::/\n", None),
    ],
)
def test_the_unit_is_the_service_that_the_process_is_in(cgroup, unit):
    assert unit_of(cgroup) == unit


def test_a_process_that_is_gone_is_in_no_unit():
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    assert units_of([gone.pid]) == set()


def test_a_program_without_a_shim_is_adrift(tmp_path):
    """Its files are there, and so is the process; it is told until a worker has seen to it."""
    runs = RunDirectories(tmp_path)
    run = runs.of(42, 1)
    run.make()
    assert adrift(runs) == []
    lost = {"pid": 2**22, "started": "1", "boot_id": "another", "epoch": 1}
    run.write("pid.json", {**lost, "shim": os.getpid(), "shim_started": "1"})
    assert adrift(runs) == [(42, "lost")]
    run.settle()
    assert adrift(runs) == []
