"""The commit of the code that a worker runs, as Git itself says it."""

from __future__ import annotations

import shutil
import subprocess

import pytest

from dama.worker.commit import SHOWN, commit_of

pytestmark = pytest.mark.skipif(shutil.which("git") is None, reason="there is no Git here")


def git(folder, *words: str) -> str:
    who = ["-c", "user.name=ada", "-c", "user.email=ada@example.org"]
    done = subprocess.run(
        ["git", *who, *words], cwd=folder, capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


def test_the_commit_is_the_one_that_git_names(tmp_path):
    """On a branch, in a folder of it, packed, in another work tree, and on none."""
    code = tmp_path / "code"
    (code / "deep" / "er").mkdir(parents=True)
    git(code, "init", "-q")
    assert commit_of(code) is None  # nothing is committed yet
    for n in range(2):
        git(code, "commit", "-q", "--allow-empty", "-m", str(n))
    first, second = git(code, "rev-parse", "HEAD~")[:SHOWN], git(code, "rev-parse", "HEAD")[:SHOWN]
    git(code, "worktree", "add", "-q", "-b", "other", str(tmp_path / "other"), "HEAD~")
    assert [commit_of(code), commit_of(code / "deep" / "er")] == [second, second]
    assert commit_of(tmp_path / "other") == first
    git(code, "pack-refs", "--all")
    assert [commit_of(code), commit_of(tmp_path / "other")] == [second, first]
    git(code, "checkout", "-q", "--detach", "HEAD~")
    assert commit_of(code) == first


def test_what_is_no_checkout_has_none(tmp_path):
    for name, text in (("file", "gitdir: nowhere\n"), ("head", "no commit\n")):
        folder = tmp_path / name
        folder.mkdir()
        if name == "file":
            (folder / ".git").write_text(text)
        else:
            (folder / ".git").mkdir()
            (folder / ".git" / "HEAD").write_text(text)
        assert commit_of(folder) is None
