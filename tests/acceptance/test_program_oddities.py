"""Programs in time namespaces, on other file systems, and hung in the kernel."""

import os
import signal

import pytest

from tests.acceptance.programs import Project
from tests.acceptance.test_program_places import may_unshare, running
from tests.integration.programs import wait_until

pytestmark = pytest.mark.timeout(300)


@pytest.fixture
def project(tmp_path, database_url, forked):
    project = Project(tmp_path, database_url, forked)
    yield project
    project.close()


TIME = ("unshare", "-Tf", "--kill-child", "--boottime", "1000000", "--monotonic", "2000000")


@pytest.mark.parametrize("is_inside", [True, False], ids=["begins inside", "ends inside"])
def test_a_worker_in_another_time_namespace_knows_whose_program_lives(project, is_inside):
    """Ticks since boot are others there; the program lives, and is not started again."""
    if not may_unshare("-T"):
        pytest.skip("TIME NAMESPACES ARE NOT TESTED: this user may not have one")
    first, second = (TIME, ()) if is_inside else ((), TIME)
    context = project.enqueue("bash")
    project.worker(*first)
    directory = running(project, context)
    pid = directory.known("pid.json")["pid"]
    project.kill_worker()
    project.worker(*second)
    wait_until(lambda: "ADOPTED" in project.types(context))
    os.kill(directory.known("pid.json")["shim"], signal.SIGKILL)
    wait_until(lambda: "WARN" in project.types(context) or "LOST" in project.types(context))
    assert "LOST" not in project.types(context), project.types(context)
    os.kill(pid, 0)
    project.open_gate()
    wait_until(lambda: project.types(context)[-1] == "ERROR")
    assert project.types(context).count("STARTED") == 1
    assert project.ticks(context) == list(range(1, len(project.ticks(context)) + 1))
