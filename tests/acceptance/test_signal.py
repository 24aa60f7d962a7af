"""`dama signal`: what a task asks, and answers to it that are checked where they are given."""

import json
import subprocess
import time

import pytest

ASKING = """
from typing import Literal

from dama import Service, Task
from pydantic import BaseModel

asking = Service("asking")


class Approval(BaseModel):
    approved: bool
    kind: Literal["full", "part"] = "full"


@asking.task
async def publish(task: Task) -> list[object]:
    answer = await task.ask(Approval, "Publish it?")
    return [answer.payload.approved, answer.payload.kind, answer.by]
"""


class Project:
    """The command, in a project whose task asks."""

    def __init__(self, forked, folder, url):
        (folder / "asking.py").write_text(ASKING)
        (folder / "dama.toml").write_text('services = ["asking"]\n')
        environ = forked.environ(DAMA_DATABASE_URL=url)
        self.how = {"cwd": folder, "env": environ, "text": True}
        self.dama = forked.dama

    def run(self, *arguments):
        """Type a command, and wait for its end."""
        return subprocess.run([self.dama, *arguments], capture_output=True, check=False, **self.how)

    def start(self, *arguments):
        """Type a command that waits."""
        return subprocess.Popen([self.dama, *arguments], stdout=subprocess.DEVNULL, **self.how)


@pytest.fixture
def project(forked, database_url, tmp_path):
    """One of its own."""
    return Project(forked, tmp_path, database_url)


def until(project, words):
    """What `dama signal 1` shows, once it has these words."""
    deadline = time.monotonic() + 30
    while words not in (shown := project.run("signal", "1")).stdout:
        assert time.monotonic() < deadline, shown
        time.sleep(0.1)
    return shown.stdout


def test_a_question_is_shown_and_only_an_answer_that_fits_is_taken(project):
    """Who answered is in the event, and the task reads it."""
    with project.start("run", "asking.publish") as waiting:
        try:
            assert "approved (boolean), kind ('full' or 'part', optional)" in until(
                project, "Publish it?"
            )
            refused = project.run("signal", "1", "approval", "approved=maybe", "kind=half")
            assert refused.returncode == 2
            assert "approved should be a boolean, but is 'maybe'" in refused.stderr
            assert "kind should be 'full' or 'part', but is 'half'" in refused.stderr

            answered = project.run("signal", "1", "approval", "approved=true", "kind=part")
            assert answered.returncode == 0, answered
            assert waiting.wait(30) == 0
        finally:
            waiting.kill()
    shown = json.loads(project.run("show", "1", "--json").stdout)
    assert shown["result"][:2] == [True, "part"]
    assert shown["result"][2]
    assert "waits for no event" in project.run("signal", "1").stdout
