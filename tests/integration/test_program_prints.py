"""Output in more ways than `echo`, modes, and what a program that cannot be started says."""

import os
import stat
import tempfile
from pathlib import Path

import pytest

from dama.programs.run_directory import RunDirectories
from tests.integration.programs import Shims
from tests.integration.test_programs import Programs

LINE = """echo '::dama:: {"type": "seen/%s"}'"""

SHIPPED = """
until grep -q '"stdout": {"offset": [1-9]' $(dirname $DAMA_EVENTS)/shipped.json 2>/dev/null; do
    sleep 0.05
done
"""


@pytest.fixture
async def bench(store, tmp_path):
    """Programs."""
    return Programs(store, tmp_path)


@pytest.fixture
def shims(tmp_path):
    """Shims, and nothing left of them."""
    shims = Shims(tmp_path / "runs")
    yield shims
    shims.close()


@pytest.mark.parametrize(
    "begin_again",
    [
        "echo aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa | dd of=/dev/stdout status=none",
        """python3 -c 'open("/proc/self/fd/1", "w").write("x" * 5000 + chr(10))'""",
        "cp /etc/hostname /dev/stdout",
        "truncate -s 0 /dev/stdout",
        "exec > /dev/stdout",
    ],
)
async def test_a_log_that_is_begun_again_is_said_and_read_on(bench, begin_again):
    """However long the new beginning is; what is told behind it arrives."""
    script = f"{LINE % 'first'}; {SHIPPED}{begin_again}; {LINE % 'last'}"
    context = await bench.performed(bench.declare("again", script))
    assert (await bench.ended(context)).status == "DONE"
    assert len(await bench.events(context, "seen/first")) == 1
    assert len(await bench.events(context, "seen/last")) == 1
    assert any("begun again" in w.payload["message"] for w in await bench.events(context, ":WARN"))


QUICK = {
    "stderr": "echo a >&2; echo b >&2; echo x > /dev/stderr; echo y >&2; echo '%s'",
    "stdout": "seq 5; echo '%s' | tee /dev/stdout",
    "stdout stderr": "echo '%s'; cp /etc/hostname /dev/stderr; : > /dev/stdout",
}


@pytest.mark.parametrize("names", QUICK)
async def test_what_is_truncated_before_anybody_looks_is_said(bench, names):
    """The program is over within a moment, and what is left of its logs looks whole."""
    context = await bench.performed(bench.declare("quick", QUICK[names] % "a line"))
    warnings = [event.payload for event in await bench.events(context, ":WARN")]
    assert sorted(w["stream"] for w in warnings) == sorted(names.split())
    assert all("truncated" in w["message"] for w in warnings)


MEMORY = "/dev/shm"  # noqa: S108 - a file system in memory, which has other ways to tell


@pytest.mark.parametrize("place", [None, MEMORY], ids=["disk", "memory"])
def test_a_truncation_is_noticed_and_nothing_else_is_taken_for_one(shims, place, tmp_path):
    """Neither what the cap takes nor appending, holes or a limit of the size of files."""
    with tempfile.TemporaryDirectory(dir=place) as folder:
        shims.directories = RunDirectories(Path(folder) / "runs")
        found = {
            name: shims.start("bash", "-c", script, log_cap=1 << 20)
            for name, script in {
                "plain": "seq 9; seq 5 >&2",
                "silent": ":",
                "capped": "seq 600000; sleep 1.5; seq 9",
                "appended": "seq 9; seq 10 >> /dev/stdout; tee -a /dev/stderr < /etc/hostname",
                "with a hole": "seq 9; truncate -s 1G /dev/stdout; seq 9",
                "limited": "ulimit -f 1; seq 99999",
                "truncated": "seq 9000; seq 8000 > /dev/stdout",
                "truncated and capped": "seq 9; : > /dev/stdout; seq 600000; sleep 1.5; seq 9",
                "shortened": "seq 9000; truncate -s 5000 /dev/stdout; seq 9",
            }.items()
        }
        told = {name: shims.ended(directory) for name, directory in found.items()}
        assert {name for name in told if told[name].get("truncated") == ["stdout"]} == {
            "truncated",
            "truncated and capped",
            "shortened",
        }
        plain, silent = found["plain"].stdout.stat(), found["silent"].stdout.stat()
        assert (plain.st_blocks, silent.st_blocks) == (8, 0)


async def test_an_append_by_its_path_is_no_truncation(bench):
    more = "echo 10 >> /dev/stdout; seq 11 12 | tee -a /proc/self/fd/1 | wc -l"
    script = f"seq 9; {more}; echo x >> /dev/stderr; {LINE % 'last'}"
    context = await bench.performed(bench.declare("append", script))
    assert await bench.events(context, ":WARN") == []
    assert len(await bench.events(context, "seen/last")) == 1
    directory = await bench.directory(context)
    assert directory.stdout.read_text().startswith("1\n2\n3\n")
    assert directory.stderr.read_text() == "x\n"


@pytest.mark.parametrize("umask", [0o000, 0o002, 0o377])
def test_no_file_of_a_run_is_anybody_elses_whatever_the_umask_is(shims, umask):
    before = os.umask(umask)
    try:
        directory = shims.start("sh", "-c", "umask; echo x", cwd="/")
        shims.ended(directory)
    finally:
        os.umask(before)
    assert int(directory.stdout.read_text().split()[0], 8) == umask
    for path in [directory.path, *directory.path.iterdir()]:
        assert not stat.S_IMODE(path.stat().st_mode) & 0o077, path


@pytest.mark.parametrize(
    ("script", "tail"),
    [
        ("head -c 3000000 /dev/zero | tr '\\\\0' x; echo; echo end", b"end\r\n"),
        ("echo a > /dev/tty; exec > /dev/null 2>&1; sleep 0.3; echo end > /dev/tty", b"end\r\n"),
        ("stty -F /dev/tty raw -echo; printf 'a\\nend\\n'", b"a\nend\n"),
        ("(sleep 0.3; echo end) & exec >&- 2>&- <&-; exit 0", b"end\r\n"),
    ],
)
def test_a_terminal_keeps_all_that_is_written_to_it(shims, script, tail):
    directory = shims.start("bash", "-c", script, pty=True, timeout=60)
    told = shims.ended(directory)
    assert (told["code"], told["why"]) == (0, "")
    assert directory.stdout.read_bytes().endswith(tail)
    if "3000000" in script:
        assert directory.stdout.stat().st_size == 3_000_000 + len(b"\r\n") + len(tail)


@pytest.mark.parametrize(
    ("content", "mode", "words"),
    [
        ("#!/bin/sh\n", 0o644, "chmod +x"),
        (None, 0o755, "it is a folder"),
        ("#! /no/such -x\n", 0o755, "its interpreter /no/such is missing"),
    ],
)
def test_what_may_not_be_started_says_why(shims, tmp_path, content, mode, words):
    path = tmp_path / "x.sh"
    if content is None:
        path.mkdir()
    else:
        path.write_text(content)
        path.chmod(mode)
    told = shims.ended(shims.start(str(path)))
    assert words in told["error"]
    assert str(path) in told["error"]
